"""A training run: its inputs, its components, the training loop, and its output in the terminal."""
