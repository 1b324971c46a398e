"""The learner in the driver: one object for any number of ranks."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import ray
from ray.actor import ActorHandle
from ray.exceptions import OutOfMemoryError, RayActorError, RayError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tandem.config.schema import Config
from tandem.rollout import Group
from tandem.runtime.errors import RunError
from tandem.runtime.imports import without_collection
from tandem.runtime.processes import PeakMemory, on_this_host
from tandem.runtime.trace import TraceRow
from tandem.runtime.weights import SHM, PublishedWeights

CLOSE_TIMEOUT_S = 10.0
"""How long a rank may take to close before it is killed."""
FAILURE_GRACE_S = 10.0
"""How long to wait for further failures after the first: a rank may fail only because another one died."""
RANK_DIED = (RayActorError, OutOfMemoryError)
"""Ray's errors of a call whose rank died; the latter if Ray killed it because its node ran out of memory."""


class LearnerError(RunError):
    """A rank of the learner failed, died or did not answer in time; the message names it."""


class RankFailed(LearnerError):
    """A rank of the learner died. The call itself may be repeated."""


class LearnerGroup:
    """The ranks of the learner, each a Ray actor. As a context manager it ends them.

    Start `config.learner.ranks` ranks with `gpus_per_rank` GPUs each (0: on the CPU, whose cores they share), placed by
    `placements`. They load the model at `model_path`, the reference of the Kullback-Leibler term at `reference_path` (by
    default the same), and the state that `save` wrote to the folder `saved` if one is given; the number of ranks may have
    changed since. They publish by `transport`; through shared memory in the file `segment`, which they remove when they are
    closed, but not when they fail.

    Every method waits for all ranks, at most `config.learner.timeout_s`. It raises `LearnerError` that names the rank that
    failed, or `RankFailed` if a rank died.
    """

    def __init__(
        self,
        config: Config,
        model_path: str,
        segment: Path,
        *,
        reference_path: str = "",
        saved: Path | None = None,
        gpus_per_rank: float = 0.0,
        transport: str = SHM,
        placements: Sequence[PlacementGroupSchedulingStrategy] = (),
    ) -> None:
        ranks = config.learner.ranks
        device = "cuda" if gpus_per_rank else "cpu"
        # Imported here: it takes seconds, which bad input need not wait for, and DeepSpeed reads DS_ACCELERATOR on import.
        os.environ.setdefault("DS_ACCELERATOR", device)
        with without_collection():
            from learner.rank import Rank, RankSpec

        cores = config.mode.cpu_cores or len(os.sched_getaffinity(0))
        self._config, self._timeout_s = config, config.learner.timeout_s
        actor = ray.remote(Rank)
        options = {"num_cpus": 0, "num_gpus": gpus_per_rank, "runtime_env": {"env_vars": {"DS_ACCELERATOR": device}}}
        self._ranks = [
            actor.options(**options, scheduling_strategy=placement).remote(
                config,
                RankSpec(
                    rank=rank,
                    ranks=ranks,
                    model_path=model_path,
                    reference_path=reference_path,
                    segment_path=segment,
                    transport=transport,
                    device=device,
                    shares_gpu=0 < gpus_per_rank < 1,
                    threads=max(1, cores // ranks),
                ),
            )
            for rank, placement in enumerate(placements or [None] * ranks)
        ]
        try:
            address, port = self._wait("start", [self._ranks[0].rendezvous.remote()])[0]
            self._call("join", address, port)
            self._call("load", saved)
            locations = self._call("process_location")
        except BaseException:
            self.kill()
            raise
        self._processes = on_this_host({f"learner rank {rank}": location for rank, location in enumerate(locations)})

    def update(self, groups: Sequence[Group], step: int) -> dict[str, float]:
        """Train on the groups of one step, whose advantages are set, and return the step's metrics. `step` counts from 1.

        Raises `ValueError` for groups that cannot be trained on (see `plan_step`).
        """
        from tandem.batching import plan_step  # imports torch, which takes seconds

        plans = plan_step(groups, step, self._config, len(self._ranks))
        return self._wait("update", [rank.update.remote(plan, step) for rank, plan in zip(self._ranks, plans, strict=True)])[0]

    def connect(self, engines: Sequence[ActorHandle]) -> None:
        """Connect to the rollout actors `engines`, started for the same transport. Call it before the first `publish`."""
        self._call("connect", list(engines))

    def publish(self, version: int) -> PublishedWeights:
        """Send the current weights as `version`. The engines must have loaded the previous version, and load this one next."""
        return self._call("publish", version)[0]

    def text_logprobs(self, texts: Sequence[Sequence[int]]) -> list[float]:
        """Return the log-probabilities of the tokens of `texts` after the first of each, at temperature 1."""
        return self._call("text_logprobs", texts)[0]

    def save(self, folder: Path) -> None:
        """Write the state that a resumed learner needs into the existing `folder`.

        Raises `OSError` when the disk refuses it; the learner is not affected.
        """
        self._to_disk("save", folder)

    def export(self, path: Path, *, whole: bool = False) -> None:
        """Write the current weights and the tokenizer as a Hugging Face directory. Raises `OSError` as `save` does.

        With `whole` it is a whole model, whatever `learner.lora.merged_export` says of an adapter.
        """
        self._to_disk("export", path, whole)

    def start_profile(self) -> None:
        """Start profiling every rank."""
        self._call("start_profile")

    def stop_profile(self) -> list[TraceRow]:
        """Stop profiling and return one row of the trace for each rank."""
        return [TraceRow(f"learner rank {rank}", profile=profile) for rank, profile in enumerate(self._call("stop_profile"))]

    def peak_memory(self) -> list[PeakMemory]:
        """Return the peak memory of each rank so far."""
        return self._call("peak_memory")

    def close(self) -> None:
        """End the ranks, whatever their state."""
        closing = [rank.close.remote() for rank in self._ranks]
        ray.wait(closing, num_returns=len(closing), timeout=CLOSE_TIMEOUT_S)
        self.kill()

    def processes(self) -> dict[str, psutil.Process]:
        """Return the processes of the ranks on this host, by name."""
        return self._processes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:  # some rank may be stuck in a collective that will never complete
            self.kill()

    def kill(self) -> None:
        """Kill the ranks at once."""
        for rank in self._ranks:
            ray.kill(rank)

    def _call(self, method: str, *arguments: Any) -> list[Any]:
        """Call `method` on all ranks and return their results in order."""
        return self._wait(method, [getattr(rank, method).remote(*arguments) for rank in self._ranks])

    def _to_disk(self, method: str, *arguments: Any) -> None:
        for failure in self._call(method, *arguments):
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
                # The others may now wait forever for this rank, or may be why it failed: allow them time to fail too.
                deadline = min(deadline, time.monotonic() + FAILURE_GRACE_S)
        if failures:
            # A rank that died makes the collectives of the others fail, so it is the one to name; then the lowest rank, so that
            # the same failure always gives the same message.
            rank, cause = min(failures.items(), key=lambda failure: (not isinstance(failure[1], RANK_DIED), failure[0]))
            kind = RankFailed if isinstance(cause, RANK_DIED) else LearnerError
            raise kind(f"learner rank {rank} of {len(self._ranks)} failed in {method!r}: {cause}") from cause
        if pending:
            raise LearnerError(
                f"learner rank(s) {sorted(pending.values())} did not finish {method!r} within "
                f"learner.timeout_s={self._timeout_s:g}"
            )
        return results
