"""The configuration: its schema, how it is loaded, and the checks on it as a whole before any engine starts."""
