"""Model folders that tests damage, and why they are then refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers as hf

from tandem.config.schema import ConfigError
from tandem.models.inspection import inspect_model


def refusal(folder: Path) -> str:
    """Return the reason why the model is refused, without the key."""
    with pytest.raises(ConfigError) as refused:
        inspect_model(folder, "model.path=MODEL")
    message = str(refused.value)
    assert message.startswith("model.path=MODEL: ") and "; " in message and "\n" not in message
    return message.removeprefix("model.path=MODEL: ")


def change(file: Path, **values: Any) -> None:
    """Set `values` in a JSON file; None removes."""
    content = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def replaced(folder: Path, model: hf.PreTrainedModel) -> Path:
    """Save `model` in `folder` in place of its model, and return the folder."""
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    return folder
