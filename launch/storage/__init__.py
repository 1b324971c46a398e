"""The files of a run: writing, resuming and reading them."""
