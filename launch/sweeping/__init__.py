"""Several runs of training by one command: their arms, their processes and what came of them."""
