"""The tile engine: knows translators and arrays, nothing of files."""
