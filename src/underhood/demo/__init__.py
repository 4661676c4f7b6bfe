"""The embedded default: synthetic dermoscopy with planted shortcuts, and models trained on it."""
