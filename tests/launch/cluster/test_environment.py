"""Tests of a run's environment: its temporary folder, environment variables, and an unreachable cluster."""

from __future__ import annotations

import json
import os
import shlex
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.cluster.environment import (
    FALLBACK_BASE,
    INDUCTOR,
    LONGEST_BASE,
    environment,
    is_plain,
    set_environment,
    temporary_base,
    unsuitable_base,
)
from launch.cluster.local_cluster import given_cluster, no_answer
from tandem.config.schema import ConfigError

TmpdirIs = Callable[[Path], None]


@pytest.fixture
def tmpdir_is(monkeypatch: pytest.MonkeyPatch) -> TmpdirIs:
    """Return a function that sets the temporary folder, as TMPDIR does at the start of a process."""

    def tmpdir_is(folder: Path) -> None:
        monkeypatch.setenv("TMPDIR", str(folder))
        monkeypatch.setattr(tempfile, "tempdir", None)

    return tmpdir_is


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder)


@given(st.text())
def test_plain_path_is_read_correctly_by_every_tool(text: str) -> None:
    if is_plain(Path(text)):
        path = str(Path(text))
        assert shlex.split(path) == [path] and path.isascii()
        assert not set(path) & set("%#?:;&|<>()[]{}$`*~!\"'\\ \t\n")


@pytest.mark.parametrize("name", ["a b", "ü", "a#b", "a%b", "it's", 'a"b', "a\\b", "a:b", "x" * (LONGEST_BASE + 1)])
def test_unsuitable_temporary_path_is_replaced(tmpdir_is: TmpdirIs, short_folder: Path, name: str) -> None:
    (folder := short_folder / name).mkdir()
    tmpdir_is(folder)
    assert unsuitable_base(folder) and temporary_base() == FALLBACK_BASE


def test_temporary_folder_with_plain_path_is_used(tmpdir_is: TmpdirIs, short_folder: Path) -> None:
    tmpdir_is(short_folder)
    assert temporary_base() == short_folder


def test_missing_temporary_folder_is_replaced(tmpdir_is: TmpdirIs) -> None:
    tmpdir_is(Path("/no/such/folder"))
    assert temporary_base() == FALLBACK_BASE


def test_run_without_temporary_folder_is_refused(tmpdir_is: TmpdirIs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (odd := tmp_path / "a b").mkdir()
    tmpdir_is(odd)
    monkeypatch.setattr("launch.cluster.environment.FALLBACK_BASE", Path("/no/such"))
    with pytest.raises(ConfigError, match=r"TMPDIR=.*/a b: .*and /no/such cannot be written; name another folder in TMPDIR"):
        temporary_base()


@pytest.mark.parametrize(("cache", "kept"), [("/c/tandem", "/c/tandem/inductor"), ("/c d/tandem", None)])
def test_compiler_of_torch_gets_plain_paths(monkeypatch: pytest.MonkeyPatch, cache: str, kept: str | None) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ[INDUCTOR] = f"{tempfile.gettempdir()}/torchinductor_somebody"  # as torch does on import
    set_environment(Path(cache))
    assert os.environ.get(INDUCTOR) == kept


@pytest.mark.parametrize("used", [False, True])
def test_folder_that_torch_creates_on_import_is_removed_if_empty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, used: bool
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    created = tmp_path / "torchinductor_somebody"
    (created / "results" if used else created).mkdir(parents=True)
    os.environ[INDUCTOR] = str(created)
    set_environment(tmp_path / "cache")
    assert created.exists() == used


def test_user_environment_is_kept_except_for_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ | {INDUCTOR: "/mine", "PYTHONUTF8": "0"})
    set_environment(Path("/c/tandem"))
    assert (os.environ[INDUCTOR], os.environ["PYTHONUTF8"]) == ("/mine", "1")


def test_workers_on_other_nodes_get_caches_and_see_only_their_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ | {"RAY_ADDRESS": "auto", "TRITON_CACHE_DIR": "/mine"})
    of_job = {"runtime_env": {"env_vars": {"VLLM_CACHE_ROOT": "/job"}, "working_dir": "."}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(of_job))
    for name in ("TORCH_EXTENSIONS_DIR", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        os.environ.pop(name, None)
    set_environment(Path("/c/tandem"))
    given: dict[str, str] = {}

    def init(*, runtime_env: dict[str, dict[str, str]], **options: object) -> None:
        given.update(runtime_env["env_vars"])
        raise ConnectionError

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    with pytest.raises(ConfigError), given_cluster():
        pass
    assert given.items() <= os.environ.items()
    assert given["TORCH_EXTENSIONS_DIR"] == "/c/tandem/torch_extensions" and given["TRITON_CACHE_DIR"] == "/mine"
    assert "VLLM_CACHE_ROOT" not in given, "the job gives it"
    assert given["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] == "1" and "RAY_ADDRESS" not in given


def test_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET", "before")
    monkeypatch.delenv("UNSET", raising=False)
    with environment(SET="in", UNSET="in"):
        assert os.environ["SET"] == os.environ["UNSET"] == "in"
    assert os.environ["SET"] == "before" and "UNSET" not in os.environ


def test_unreachable_cluster_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert no_answer(address) == no_answer(f"ray://{address}") == no_answer("auto") == ""
    assert "nothing answers" in no_answer(address) and "nothing answers" in no_answer(f"ray://{address}")
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with (
        pytest.raises(ConfigError, match=rf"RAY_ADDRESS={address}: nothing answers there .*\n.*unset RAY_ADDRESS"),
        given_cluster(),
    ):
        pass


@pytest.mark.parametrize("kind", [ConnectionError, RuntimeError, ValueError])
def test_message_contains_error_of_ray(monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    def init(**options: object) -> None:
        raise kind("Could not find any running Ray instance.")

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    with pytest.raises(ConfigError, match=r"RAY_ADDRESS=auto: Could not find any running Ray instance\.\n"), given_cluster():
        pass
