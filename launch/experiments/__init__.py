"""Sweeps, and experiments that compare arms over seeds: their runs, results and tables."""
