"""The environment variables of a run, and the folder of its temporary files."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tandem.config.schema import ConfigError
from tandem.runtime.disk import unwritable

LONGEST_BASE = 20
"""The longest path of a temporary folder, in characters: Ray's sockets lie some 70 characters deeper, and the path of a Unix
socket may have only 107."""
FALLBACK_BASE = Path("/tmp")
INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"
_CACHES = {
    "HF_DATASETS_CACHE": "datasets",
    "TORCH_EXTENSIONS_DIR": "torch_extensions",
    "TRITON_CACHE_DIR": "triton",
    "VLLM_CACHE_ROOT": "vllm",
    "VLLM_CONFIG_ROOT": "vllm",
}
"""Folders for compiled and downloaded files in the cache folder, by variable."""
_OF_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # otherwise engines and learner run at 15
}
_OF_WORKERS = {
    "DO_NOT_TRACK": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # otherwise actors without GPUs see all
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_NO_USAGE_STATS": "1",
}
_PLAIN = re.compile(r"[\w./+-]*", re.ASCII)


def in_submitted_job() -> bool:
    """Whether this process is the entry point of a job that `ray job submit` submitted."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def set_environment(cache: Path) -> None:
    """Set the environment variables of Ray, vLLM, torch and DeepSpeed, for this process and its children.

    The user's values stay, except for Python's UTF-8 mode: in an ASCII locale libraries could not read their own files.
    """
    os.environ["PYTHONUTF8"] = "1"
    # torch looks for ninja on the path when it compiles an extension.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    for variable, folder in _CACHES.items():
        os.environ.setdefault(variable, str(cache / folder))
    _set_inductor_cache(cache / "inductor")
    for variable, value in (_OF_RAY | _OF_WORKERS).items():
        os.environ.setdefault(variable, value)


def worker_environment() -> dict[str, str]:
    """Return the variables that workers on other nodes need too, as `set_environment` set them in this process.

    Leaves out the variables that a submitted job sets for its workers itself: Ray refuses a variable that is given twice.
    """
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")).get("runtime_env") or {}
    names = {"PYTHONUTF8", INDUCTOR, *_CACHES, *_OF_WORKERS}.intersection(os.environ).difference(job.get("env_vars", {}))
    return {name: os.environ[name] for name in sorted(names)}


def _set_inductor_cache(folder: Path) -> None:
    """Set the cache of torch's compiler to `folder`; if its path is not plain, to each run's temporary folder."""
    inherited = Path(os.environ.get(INDUCTOR, ""))
    # torch sets the variable itself when it is imported, to a folder of this name that it creates.
    if inherited.name.startswith("torchinductor_") and inherited.parent == Path(tempfile.gettempdir()):
        del os.environ[INDUCTOR]
        with suppress(OSError):  # not empty: another program uses it
            inherited.rmdir()
    if is_plain(folder):
        os.environ.setdefault(INDUCTOR, str(folder))


def is_plain(path: Path) -> bool:
    """Whether `path` has no character with a special meaning in a command line or the address of a socket.

    torch's compiler splits its command lines at spaces and quotes; ZeroMQ and gRPC read paths as parts of addresses.
    """
    return _PLAIN.fullmatch(str(path)) is not None


def unsuitable_base(base: Path) -> str:
    """Return why a run's temporary folder cannot lie in `base`; empty if it can."""
    if len(str(base)) > LONGEST_BASE:
        return f"the path has more than {LONGEST_BASE} characters, too many for Ray's sockets"
    if not is_plain(base):
        return "the path has characters other than letters, digits and '._+-', which compilers and sockets misread"
    if not base.is_dir():
        return "there is no such folder"
    return f"nothing can be written there ({why})" if (why := unwritable(base)) else ""


def temporary_base() -> Path:
    """Return the parent of a run's temporary folder: TMPDIR if it is suitable, else `/tmp`.

    Raises `ConfigError` if neither can be used.
    """
    try:
        base = Path(tempfile.gettempdir())
    except FileNotFoundError:
        base = Path(os.environ.get("TMPDIR", FALLBACK_BASE))
    for candidate in (base, FALLBACK_BASE):
        if not unsuitable_base(candidate):
            return candidate
    raise ConfigError(
        f"TMPDIR={base}: {unsuitable_base(base)}, and {FALLBACK_BASE} cannot be written; name another folder in "
        f"TMPDIR, with a path of at most {LONGEST_BASE} letters, digits and '._+-'"
    )


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables for the block, and restore them after it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ |= {name: value} if value is not None else {}
