"""Hugging Face directories and hub ids that a user names."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from tandem.config import ConfigError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_NEEDED_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_TOKENIZERS = ["tokenizer.json", "tokenizer.model", "vocab.json"]
_WEIGHTS = ["*.safetensors", "pytorch_model*.bin"]


def model_directory(path: str, key: str = "model.path") -> Path:
    """The local Hugging Face directory for `path`, a directory or a hub id (downloaded to the hub's own cache).

    `key` is the configuration key that holds it. Raises `ConfigError` when there is no such model or a part of it is missing.
    """
    if not path:
        raise ConfigError(f"{key} is empty: name a Hugging Face directory or a hub id")
    local = Path(path).expanduser().resolve()
    directory = local if local.is_dir() else _download(path, key)
    if not (directory / "config.json").is_file():
        raise ConfigError(f"{key}={path}: there is no config.json; name a directory that save_pretrained wrote")
    if not any((directory / name).is_file() for name in _TOKENIZERS):
        raise ConfigError(f"{key}={path}: there are no tokenizer files; save the model's tokenizer there with save_pretrained")
    if not any(match for pattern in _WEIGHTS for match in directory.glob(pattern)):
        raise ConfigError(f"{key}={path}: there are no weights; save the model there with save_pretrained")
    return directory


def _download(path: str, key: str) -> Path:
    if not _HUB_ID.fullmatch(path):
        raise ConfigError(f"{key}={path}: there is no such directory; name a Hugging Face directory or a hub id (ORG/NAME)")
    try:
        return Path(snapshot_download(path, allow_patterns=_NEEDED_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{key}={path}: there is no such directory, and the hub does not give it: {reason}") from error
