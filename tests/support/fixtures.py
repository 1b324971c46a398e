"""Fixtures that are dear to start and therefore shared: the base model and real engines. The tests with them are marked."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from actors.engine_layout import engine_specs
from bench.translated import renumber
from launch.cluster.environment import environment, set_environment
from launch.cluster.local_cluster import ray_cluster
from tandem.authors import Authors, load_authors
from tandem.config.schema import Config
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.rollout import Prompt
from tests.support import ROOT
from tests.support.builders import foreign_tokenizer, save_model
from tests.support.engine_pair import EnginePair
from tests.support.preloaded import preloaded_python

if TYPE_CHECKING:  # it imports DeepSpeed, which takes seconds
    from tests.support.learner_ranks import Ranks

CACHE = Path(os.environ.get("TANDEM_CACHE", "~/.cache/tandem")).expanduser()
set_environment(CACHE)

ENGINE_FIXTURES = {"engines", "ray_session"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests whose fixtures start engines or Ray. Skip those that need a GPU where there is none."""
    for item in items:
        if isinstance(item, pytest.Function) and ENGINE_FIXTURES.intersection(item.fixturenames):
            item.add_marker(pytest.mark.engines)
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture(scope="session")
def fork_server(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes] | None]:
    """A process that has imported the libraries of engines and ranks, and of which these are forks; none without such tests."""
    engines = any(item.get_closest_marker("engines") for item in request.session.items)
    with preloaded_python() if engines and not torch.cuda.is_available() else nullcontext() as server:
        yield server


@pytest.fixture(autouse=True)
def fork_processes(fork_server: subprocess.Popen[bytes] | None) -> None:
    """Stop the tests where that process has ended: each would wait for its own timeout."""
    if fork_server is not None and fork_server.poll() is not None:
        pytest.exit("the server in tests/support/preloaded has ended", returncode=1)


@pytest.fixture(autouse=True)
def handler_of_sigterm() -> Iterator[None]:
    """Restore the handler of SIGTERM after a test: entry points install their own."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def fresh_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ray start its workers as in a run, where they are children of the cluster and show their environment, with all their
    files in the run's temporary folder."""
    for name in ("RAY_RUNTIME_ENV_HOOK", "VLLM_RPC_BASE_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def config() -> Config:
    """The default run's configuration, as far as the tests depend on it, with room for few rollouts at a time."""
    config = Config(cache_dir=str(CACHE))
    config.model.source, config.model.recipe, config.model.word_boundary = "zoo", "plain", "word_or_newline"
    config.model.step_boundary, config.eval.measures = "newline", ["solo", "handoff"]  # so that engines know words and steps
    config.data.source = "arith"
    config.rollout.max_in_flight = 16
    return config


@pytest.fixture(scope="session")
def authors(config: Config) -> Authors:
    """The offline base model as its own junior (built on the first use ever)."""
    return load_authors(config)


@pytest.fixture(scope="session")
def prompts(config: Config, authors: Authors) -> list[Prompt]:
    """Sixteen problems of the offline task."""
    problems = load_problems(config.data, seed=5, tokenizer=authors.tokenizer).train.batch(0, 16)
    return encode(problems, authors.tokenizer, config.data)[0]


@pytest.fixture(scope="session")
def small_junior(authors: Authors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with the senior's tokenizer, of another width and depth, sure enough of itself to be told from others."""
    shape = {"hidden_size": 48, "num_hidden_layers": 2, "head_dim": 32, "initializer_range": 0.2}
    folder = tmp_path_factory.mktemp("small_junior")
    return save_model(folder, authors.tokenizer, vocab_size=authors.vocabulary, **shape)


@pytest.fixture(scope="session")
def foreign_authors(config: Config, authors: Authors, tmp_path_factory: pytest.TempPathFactory) -> Authors:
    """The senior and two juniors with tokenizers of their own: a random model, and the senior's copy with renumbered tokens."""
    folder, tokenizer = tmp_path_factory.mktemp("foreign_junior"), foreign_tokenizer()
    save_model(folder, tokenizer, vocab_size=len(tokenizer) + 3, head_dim=32, initializer_range=0.2)
    copy = renumber(authors.senior, tmp_path_factory.mktemp("renumbered"))
    return load_authors(replace(config, junior=[str(folder), str(copy)], junior_translation=True))


@pytest.fixture(scope="session")
def engines(config: Config, authors: Authors, small_junior: Path, foreign_authors: Authors) -> Iterator[EnginePair]:
    """A senior with four juniors: its own copy, `small_junior` in bfloat16 with half as many slots, and those of
    `foreign_authors`."""
    senior, copy = engine_specs(config, authors, "cpu", sleep=True)[0]
    small = replace(copy, junior=1, model=str(small_junior), dtype="bfloat16", max_num_seqs=copy.max_num_seqs // 2)
    two = replace(config, junior=["random", "renumbered"])
    foreign, renumbered = (
        replace(spec, junior=spec.junior + 2) for spec in engine_specs(two, foreign_authors, "cpu", sleep=True)[0][1:]
    )
    pair = EnginePair([senior, copy, small, foreign, renumbered])
    yield pair
    pair.close()


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A private Ray cluster that leaves nothing behind."""
    # Ray's workers lack the folders that pytest adds to the path.
    with environment(PYTHONPATH=str(ROOT)), ray_cluster(logs=tmp_path_factory.mktemp("ray") / "logs"):
        yield


@pytest.fixture(scope="session")
def lockstep_settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A short run of a tiny random model (see `lockstep_runs`)."""
    from tests.support.lockstep_runs import small_run

    return small_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def whole_run(lockstep_settings: Config, ray_session: None) -> Path:
    """The folder of that run, which nothing interrupted, on engines in lockstep."""
    from tests.support.lockstep_runs import run

    return run(lockstep_settings)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, where the tests may mount one."""
    (path := tmp_path / "small_disk").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.fixture(scope="session")
def ranks(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Ranks]]:
    """One learner rank alone and a pair, to be reloaded by each test."""
    from tests.support.learner_ranks import Ranks

    groups = {count: Ranks(count, tmp_path_factory.mktemp("segments")) for count in (1, 2)}
    for group in groups.values():
        group.join()
    yield groups
    for group in groups.values():
        group.end()


@pytest.fixture
def warm_learner(ranks: dict[int, Ranks], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs of one rank learn on the rank of the session."""
    from tests.support.learner_ranks import WarmLearner

    for module in ("startup", "learner_only"):
        monkeypatch.setattr(f"launch.run.{module}.LearnerGroup", partial(WarmLearner, ranks[1]))


@pytest.fixture(scope="session")
def model_paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny random Qwen3 with tied embeddings and one without."""
    from tests.support.learner_ranks import save_models

    return save_models(tmp_path_factory.mktemp("models"))
