"""Is the verdict right? Explanations of models whose true cause is known, because it was planted."""
