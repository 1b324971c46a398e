"""Inspection of model directories before a run starts, without loading the weights."""
