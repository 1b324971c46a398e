"""Hugging Face directories and hub ids that a user names."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from tandem.config import ConfigError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_NEEDED_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


def model_directory(path: str, key: str = "model.path") -> Path:
    """The local directory of the model `path`, a directory or a hub id (downloaded to the hub's own cache).

    `key` is the configuration key that holds it. What the directory holds is for `inspect_model` to see. Raises `ConfigError`
    when there is no such model.
    """
    if not path:
        raise ConfigError(f"{key} is empty: name a Hugging Face directory or a hub id")
    try:
        local = Path(path).expanduser().resolve()
        if local.is_dir():
            return local
        is_file = local.is_file()
    except (OSError, RuntimeError) as error:  # a name that is too long, no permission; a home that does not exist
        raise ConfigError(f"{key}={path:.80}: {error}; name a Hugging Face directory or a hub id (ORG/NAME)") from error
    if is_file:
        raise ConfigError(f"{key}={path}: this is a file; name the directory that holds the model's config.json and weights")
    return _download(path, key)


def _download(path: str, key: str) -> Path:
    if not _HUB_ID.fullmatch(path):
        raise ConfigError(f"{key}={path}: there is no such directory; name a Hugging Face directory or a hub id (ORG/NAME)")
    try:
        return Path(snapshot_download(path, allow_patterns=_NEEDED_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{key}={path}: there is no such directory, and the hub does not give it: {reason}") from error
