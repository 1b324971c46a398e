"""Local directories of models that a user names by path or hub id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from tandem.config.schema import ConfigError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CONFIGURATION = ["config.json"]
SAFETENSORS = "*.safetensors"
_NEEDED_FILES = ["*.json", SAFETENSORS, "*.txt", "*.model", "*.jinja"]
_PICKLED = ["pytorch_model*.bin", "pytorch_model*.bin.index.json"]
"""The weights of models that have no safetensors."""


def model_directory(path: str, key: str = "model.path", files: Sequence[str] = _NEEDED_FILES) -> Path:
    """Return the local directory of the model `path`: a directory, or a hub id whose `files` are downloaded.

    `key` is the configuration key that holds `path`. Does not check the files, which `inspect_model` does. Raises `ConfigError`
    when there is no such model.
    """
    if not path:
        raise ConfigError(f"{key} is empty: name a Hugging Face directory or a hub id")
    try:
        local = Path(path).resolve()
        if local.is_dir():
            return local
        is_file = local.is_file()
    except (OSError, RuntimeError) as error:  # a name that is too long, no permission, a loop of links
        raise ConfigError(f"{key}={path:.200}: {error}; name a Hugging Face directory or a hub id (ORG/NAME)") from error
    if is_file:
        raise ConfigError(f"{key}={path}: this is a file; name the directory that holds the model's config.json and weights")
    return _download(path, key, files)


def is_hub_id(path: str) -> bool:
    """Whether `path` can only be a model on the hub: of the form ORG/NAME, and no local directory."""
    return bool(_HUB_ID.fullmatch(path)) and not Path(path).is_dir()


def configuration_directory(path: str, key: str) -> Path:
    """Return the local directory of the config.json of the model `path`. Of a hub id, download only that file.

    Raises `ConfigError`, naming `key`, when there is no such model.
    """
    directory = model_directory(path, key, _CONFIGURATION)
    if not (directory / "config.json").is_file():
        raise ConfigError(f"{key}={path}: there is no config.json; name a directory that save_pretrained wrote")
    return directory


def _download(path: str, key: str, files: Sequence[str]) -> Path:
    if not _HUB_ID.fullmatch(path):
        raise ConfigError(f"{key}={path}: there is no such directory; name a Hugging Face directory or a hub id (ORG/NAME)")
    if not constants.ENDPOINT.startswith(("http://", "https://")):
        raise ConfigError(f"HF_ENDPOINT={constants.ENDPOINT}: give the hub's address with http:// or https://, or unset it")
    try:
        directory = Path(snapshot_download(path, allow_patterns=list(files)))
        if SAFETENSORS in files and not any(directory.glob(SAFETENSORS)):
            directory = Path(snapshot_download(path, allow_patterns=[*files, *_PICKLED]))
        return directory
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{key}={path}: there is no such directory, and the hub did not provide it: {reason}; name a local directory, or "
            "connect to the hub (HF_ENDPOINT names another; HF_HUB_OFFLINE=1 uses earlier downloads)"
        ) from error
