"""The placement of a run's parts and whether they fit: arithmetic only, before anything starts."""
