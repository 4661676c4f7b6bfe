"""What was said, when, by whom, from what: the folder of an audit."""
