"""Where the parts of a run go and whether they fit: arithmetic alone, before anything starts."""
