"""Measures of a senior, from judged texts and from distributions."""
