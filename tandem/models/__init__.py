"""Inspection of model directories before a run starts, without loading the weights."""

from __future__ import annotations

from tandem.models.inspection import ModelFacts, inspect_local_models, inspect_model

__all__ = ["ModelFacts", "inspect_local_models", "inspect_model"]
