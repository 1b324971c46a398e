"""Tokens as text and as bytes."""
