"""The HTML page that shows runs, and its scripts and style."""
