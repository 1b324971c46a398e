"""Evaluation of a senior: the measures, and how they are saved and shown."""
