"""Generators of the reference pages, and what set-up runs once."""
