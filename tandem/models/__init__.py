"""What a model's directory must hold, inspected before anything starts and without loading the weights."""

from __future__ import annotations

from tandem.models.inspection import ModelFacts, inspect_local_models, inspect_model

__all__ = ["ModelFacts", "inspect_local_models", "inspect_model"]
