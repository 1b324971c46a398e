"""The learner as the driver sees it: one object, however many ranks."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tandem.config.schema import Config
from tandem.errors import RunError
from tandem.rollout import Group
from tandem.runtime.processes import PeakMemory, on_this_host
from tandem.runtime.segment import segment_folder
from tandem.runtime.trace import Row
from tandem.runtime.weights import SHM, PublishedWeights

CLOSE_TIMEOUT_S = 10.0
"""How long a rank may take to say goodbye before it is killed."""
FAILURE_GRACE_S = 10.0
"""How long the others may take to fail too once one rank has: that one may have failed only because another died."""


class LearnerError(RunError):
    """A rank of the learner failed, died or did not answer in time; the message names it."""


class RankFailed(LearnerError):
    """A rank of the learner died: nothing is known against what it was told to do."""


def segment_path() -> Path:
    """Return a fresh path in `segment_folder`."""
    return segment_folder() / f"tandem-{uuid.uuid4().hex}.weights"


class LearnerGroup:
    """The ranks of the learner, each a Ray actor; a context manager that leaves no actor and no segment behind.

    Starts `config.learner.ranks` ranks with `gpus_per_rank` GPUs each (0: they run on the CPU and share its cores), each where
    its seat says, from the model at `model_path`, with the state that `save` left in the folder `saved` if one is given, on
    however many ranks. They publish by `transport`; through shared memory in the file `segment`, which is left behind when the
    ranks fail, or in one of the group's own.

    Every method waits for all ranks, at most `config.learner.timeout_s`, and raises `LearnerError` naming the rank that failed,
    or `RankFailed` where it died.
    """

    def __init__(
        self,
        config: Config,
        model_path: str,
        *,
        saved: Path | None = None,
        segment: Path | None = None,
        gpus_per_rank: float = 0.0,
        transport: str = SHM,
        placements: Sequence[PlacementGroupSchedulingStrategy] = (),
        persistence_threshold: int = 100_000,
    ) -> None:
        ranks = config.learner.ranks
        device = "cuda" if gpus_per_rank else "cpu"
        # Imported here: it takes seconds, which bad input need not wait for, and DeepSpeed asks at once what it runs on.
        os.environ.setdefault("DS_ACCELERATOR", device)
        from learner.rank import Rank, RankSpec

        cores = config.mode.cpu_cores or len(os.sched_getaffinity(0))
        self._timeout_s = config.learner.timeout_s
        self.segment_path, self._segment_is_own = segment or segment_path(), segment is None
        actor = ray.remote(Rank)
        options = {"num_cpus": 0, "num_gpus": gpus_per_rank, "runtime_env": {"env_vars": {"DS_ACCELERATOR": device}}}
        self._ranks = [
            actor.options(**options, scheduling_strategy=seat).remote(
                config,
                RankSpec(
                    rank=rank,
                    ranks=ranks,
                    model_path=model_path,
                    segment_path=self.segment_path,
                    transport=transport,
                    device=device,
                    shares_gpu=0 < gpus_per_rank < 1,
                    threads=max(1, cores // ranks),
                    persistence_threshold=persistence_threshold,
                ),
            )
            for rank, seat in enumerate(placements or [None] * ranks)
        ]
        try:
            address, port = self._wait("start", [self._ranks[0].rendezvous.remote()])[0]
            self._call("join", address, port)
            self._call("load", saved)
            told = self._call("process_location")
        except BaseException:
            self.kill()
            raise
        self._processes = on_this_host({f"learner rank {rank}": where for rank, where in enumerate(told)})

    def update(self, groups: Sequence[Group], step: int) -> dict[str, float]:
        """Trains on one step's groups, whose advantages are assigned; `step` counts from 1. Returns the step's metrics."""
        return self._call("update", ray.put(list(groups)), step)[0]

    def connect(self, engines: Sequence[ActorHandle]) -> None:
        """Meets the rollout actors `engines`, started for the same transport, before anything is published to them."""
        self._call("connect", list(engines))

    def publish(self, version: int) -> PublishedWeights:
        """Sends the present weights as version `version`, of which the engines must then be told, and be done with the one
        before."""
        return self._call("publish", version)[0]

    def save(self, folder: Path) -> None:
        """Writes all that another learner needs to go on from here into the existing `folder`.

        Raises `OSError` for what the disk refuses; the learner can go on.
        """
        self._to_disk("save", folder)

    def export(self, path: Path) -> None:
        """Writes the present weights as a Hugging Face directory, tokenizer included. Raises `OSError` as `save` does."""
        self._to_disk("export", path)

    def start_profile(self) -> None:
        """See `tandem.runtime.trace.Profiled`."""
        self._call("start_profile")

    def stop_profile(self) -> list[Row]:
        """See `tandem.runtime.trace.Profiled`."""
        return [Row(f"learner rank {rank}", profile=told) for rank, told in enumerate(self._call("stop_profile"))]

    def peak_memory(self) -> list[PeakMemory]:
        """The most memory that each rank has had so far."""
        return self._call("peak_memory")

    def close(self) -> None:
        """Ends the ranks and removes the segment, whatever state they are in."""
        goodbyes = [rank.close.remote() for rank in self._ranks]
        ray.wait(goodbyes, num_returns=len(goodbyes), timeout=CLOSE_TIMEOUT_S)
        self.kill()

    def processes(self) -> dict[str, psutil.Process]:
        """The ranks on this host, by name."""
        return self._processes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:  # some rank may be stuck in a collective that will never complete
            self.kill()

    def kill(self) -> None:
        """Ends the ranks at once."""
        for rank in self._ranks:
            ray.kill(rank)
        if self._segment_is_own:
            self.segment_path.unlink(missing_ok=True)

    def _call(self, method: str, *arguments: Any) -> list[Any]:
        """Calls `method` on all ranks; their answers in order."""
        return self._wait(method, [getattr(rank, method).remote(*arguments) for rank in self._ranks])

    def _to_disk(self, method: str, path: Path) -> None:
        for failure in self._call(method, path):
            if failure is not None:
                raise failure

    def _wait(self, method: str, answers: list[ray.ObjectRef]) -> list[Any]:
        results: list[Any] = [None] * len(answers)
        failures: dict[int, RayError] = {}
        pending = {answer: rank for rank, answer in enumerate(answers)}
        deadline = time.monotonic() + self._timeout_s
        while pending:
            ready, _ = ray.wait(list(pending), timeout=max(0.0, deadline - time.monotonic()))
            if not ready:
                break
            rank = pending.pop(ready[0])
            try:
                results[rank] = ray.get(ready[0])
            except RayError as error:
                failures[rank] = error
                # The rest may wait for this rank for ever, or may be why it failed: give them a moment to say so.
                deadline = min(deadline, time.monotonic() + FAILURE_GRACE_S)
        if failures:
            # A rank that died takes its peers' collectives down with it: it is the one to name.
            # Among equals the first rank, so that the same failure is always told the same way.
            rank, cause = min(failures.items(), key=lambda failure: (not isinstance(failure[1], RayActorError), failure[0]))
            kind = RankFailed if isinstance(cause, RayActorError) else LearnerError
            raise kind(f"learner rank {rank} of {len(self._ranks)} failed in {method!r}: {cause}") from cause
        if pending:
            raise LearnerError(
                f"learner rank(s) {sorted(pending.values())} did not finish {method!r} within "
                f"learner.timeout_s={self._timeout_s:g}"
            )
        return results
