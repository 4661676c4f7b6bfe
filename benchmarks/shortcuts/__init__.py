"""Are shortcuts found? Audits of models whose shortcut is known, because it was planted in their data."""
