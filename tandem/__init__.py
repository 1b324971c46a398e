"""Tandem reinforcement learning: the method, in plain Python and torch."""
