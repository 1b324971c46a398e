"""Judging answers: what a text's final answer is, and whether it equals the reference."""
