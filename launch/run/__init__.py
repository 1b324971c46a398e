"""A training run: what takes part, what it begins with, what it shows while it goes on."""
