"""The weight files of a model: which ones learner and engines read, and whether they are complete. Only headers are read."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tandem.models.unusable import UnusableModel, refusing

_NAMES = ("model.safetensors", "pytorch_model.bin")
"""The names that transformers looks for, in this order, each followed by the index of its shards."""
_NO_WEIGHTS = ("training_args.bin", "optimizer.bin", "scheduler.bin", "scaler.bin")
"""Files of a training run, which vLLM ignores."""
_OTHER_NAMES = "consolidated"
"""The prefix of weight files in Mistral's format. vLLM prefers these when there are any; they are not inspected."""
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_AGAIN = "copy or download the file again"


def check_no_pointers(directory: Path) -> None:
    """Raise `UnusableModel` when a file of `directory` is a git-lfs pointer instead of the file."""
    for path in sorted(directory.iterdir()):
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                    raise UnusableModel(f"{path.name} is a git-lfs pointer, not the file itself; run git lfs pull there")


def weight_files(directory: Path) -> list[Path]:
    """Return the files that hold the weights.

    Raises `UnusableModel` when there are none, a shard is missing, or learner and engines would read different files.
    """
    files = _read_by_transformers(directory)
    if not files:
        present = sorted(path.name for suffix in ("safetensors", "bin", "pt", "gguf") for path in directory.glob(f"*.{suffix}"))
        reason = f"there are no weights under the names {' and '.join(_NAMES)}, only {', '.join(present[:3])}"
        raise UnusableModel(f"{reason if present else 'there are no weights'}; save the model there with save_pretrained")
    if missing := [path.name for path in files if not path.is_file()]:
        raise UnusableModel(
            f"{len(missing)} of {len(files)} weight files are missing ({', '.join(missing[:3])}); copy them too"
        )
    if differing := {*files} ^ _read_by_vllm(directory):
        named = ", ".join(sorted(path.name for path in differing)[:3])
        raise UnusableModel(f"learner and engines would read different weight files ({named}); leave one set of weights there")
    return files


def read_headers(files: Sequence[Path]) -> dict[str, Tensor]:
    """Return every tensor of `files` by name, on the meta device: shape and dtype without data.

    Raises `UnusableModel` for a file that is damaged or of another length than its header states.
    """
    tensors: dict[str, Tensor] = {}
    for path in files:
        tensors |= _safetensors_header(path) if path.suffix == ".safetensors" else _torch_header(path)
    return tensors


def _read_by_transformers(directory: Path) -> list[Path]:
    for name in _NAMES:
        if (directory / name).is_file():
            return [directory / name]
        if (index := directory / f"{name}.index.json").is_file():
            return [directory / shard for shard in _shards(index)]
    return []


def _read_by_vllm(directory: Path) -> set[Path]:
    if files := {path for path in directory.glob("*.safetensors") if not path.name.startswith(_OTHER_NAMES)}:
        index = directory / f"{_NAMES[0]}.index.json"
        return files & {directory / shard for shard in _shards(index)} if index.is_file() else files
    return {path for path in directory.glob("*.bin") if path.name not in _NO_WEIGHTS}


def _shards(index: Path) -> list[str]:
    """Return the file names that an index lists. Raises `UnusableModel` when it cannot be read."""
    try:
        shards = sorted({*json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
        if shards and all(isinstance(shard, str) and shard == Path(shard).name for shard in shards):
            return shards
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    raise UnusableModel(f"{index.name} is damaged: it must map names of tensors to files of the folder; {_AGAIN}")


def _safetensors_header(path: Path) -> dict[str, Tensor]:
    try:
        # `safe_open` compares the file's length with its header.
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
            return {name: _empty(part.get_shape(), part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise UnusableModel(
            f"{path.name} is damaged or incomplete, {path.stat().st_size:,} bytes: {error}; {_AGAIN}"
        ) from error


def _torch_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file of `torch.save`. Reads no data, except in the format before torch 1.6."""
    with refusing(f"{path.name} is damaged or incomplete", f"{_AGAIN}, or save the model as safetensors"):
        if zipped := zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.namelist():
                    if entry.endswith("/data.pkl"):
                        archive.read(entry)  # checks the checksum
        tensors = torch.load(path, map_location="meta", weights_only=True, mmap=zipped or None)
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise UnusableModel(f"{path.name} holds something else than tensors by name; save the model with save_pretrained")
    return tensors


def _empty(shape: Sequence[int], dtype: str) -> Tensor:
    """Return a tensor on the meta device; its dtype is uint8 if `dtype` is none of the plain floating-point ones."""
    plain = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
    return torch.empty(shape, dtype=plain.get(dtype, torch.uint8), device="meta")
