"""An engine for tests that is deterministic: one token at a time, drawn by a hash of rollout and position."""

from __future__ import annotations

import copy
import zlib
from asyncio import run
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
import torch
from transformers import AutoModelForCausalLM

from actors.admission import KVUse
from actors.group_task import GroupTask
from actors.replicas import ReplicaSet
from actors.rollout_pool import RolloutPool
from launch.cluster.reservation import Placements
from launch.run.inputs import Inputs
from tandem.authors import Authors
from tandem.cogeneration import Limits, Token, cogenerate
from tandem.rollout import BASE_VERSION, FROZEN_VERSION, JUNIOR, SENIOR, Group, Rollout, StopReason
from tandem.runtime.processes import ProcessLocation
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.segment import WeightSegment
from tandem.runtime.weights import PublishedWeights, checksum
from tandem.schedule import Pen

AT_A_TIME = 4


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute sums in the same order in every process: Ray's have one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class PlainSession:
    """A session that reads the whole text for every token."""

    def __init__(self, model: torch.nn.Module, version: int, rollout_id: str, temperature: float) -> None:
        self._model, self._version, self._temperature = model, version, temperature
        self._seed = zlib.crc32(rollout_id.encode())
        self._known: list[int] = []
        self.stop_reason: StopReason | None = None

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        self._known += new_tokens

    async def read(self) -> list[Token]:
        with torch.no_grad():
            logits = self._model(torch.tensor([self._known])).logits[0, -1]
        logprobs = (logits / self._temperature).log_softmax(-1)
        chance = np.random.default_rng((self._seed, len(self._known))).random()
        token = min(int(torch.searchsorted(logprobs.double().exp().cumsum(0), chance)), len(logprobs) - 1)
        self._known.append(token)
        return [Token(token, float(logprobs[token]), self._version)]

    async def close(self) -> None:
        pass


class Lockstep:
    """A replica that runs its calls in the caller's process, one after the other."""

    def __init__(self, authors: Authors) -> None:
        self._authors = authors
        self._models = {author: AutoModelForCausalLM.from_pretrained(authors.senior) for author in (SENIOR, JUNIOR)}
        self._versions = {SENIOR: BASE_VERSION, JUNIOR: FROZEN_VERSION}

    def call(self, method: str, *arguments: Any) -> ray.ObjectRef:
        return ray.put(getattr(self, method)(*arguments))

    def start(self) -> int:
        return AT_A_TIME

    def write_group(self, task: GroupTask) -> Group:
        with one_thread():
            rollouts = [self._write(task, *identity) for identity in zip(task.rollout_ids, task.seeds, strict=True)]
        return Group(task.prompt, rollouts, task.schedule)

    def _write(self, task: GroupTask, rollout_id: str, seed: int) -> Rollout:
        sessions = {
            author: PlainSession(model, self._versions[author], f"{rollout_id}/{author}", task.sampling.temperature)
            for author, model in self._models.items()
            if author == SENIOR or not task.schedule.solo
        }
        limits = Limits(task.sampling.max_tokens, self._authors.context, frozenset(self._authors.eos_ids))
        prompt = task.prompt.token_ids
        rollout = run(cogenerate(rollout_id, prompt, sessions, task.schedule, self._authors.boundaries, seed, limits))
        rollout.text = self._authors.tokenizer.decode(rollout.token_ids, skip_special_tokens=True)
        return rollout

    def receive_weights(self, published: PublishedWeights) -> int:
        segment = WeightSegment(published.path, published.layout)
        assert segment.checksum() == published.checksum
        self._models[SENIOR].load_state_dict(copy.deepcopy(dict(segment.tensors())), strict=False)
        self._versions[SENIOR] = published.version
        return published.version

    def text_logprobs(self, texts: Sequence[Sequence[int]]) -> list[float]:
        model = self._models[SENIOR]
        with torch.no_grad(), one_thread():
            rows = [model(torch.tensor([text])).logits[0, :-1].log_softmax(-1) for text in texts]
        tokens = [torch.tensor(text)[1:, None] for text in texts]
        return torch.cat([found.gather(1, ids)[:, 0] for found, ids in zip(rows, tokens, strict=True)]).tolist()

    def checksums(self, author: int) -> list[str]:
        return [checksum(self._models[author].named_parameters())]

    def close(self) -> None:
        pass

    def kv_use(self) -> dict[str, KVUse]:
        return {}

    def processes(self) -> dict[str, ProcessLocation]:
        return {}

    def kill(self) -> None:
        pass

    def recreate(self) -> None:
        raise NotImplementedError("it runs in the caller's process")


def start_lockstep(inputs: Inputs, done: int, budget: RestartBudget, placements: Placements) -> RolloutPool:
    """Start engines as `launch.run.startup.start_engines`, but in lockstep."""
    return RolloutPool(inputs.config, ReplicaSet([Lockstep(inputs.authors)], inputs.config.guard, budget))
