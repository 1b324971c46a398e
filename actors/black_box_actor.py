"""The rollout actor of a senior whose junior is a black box behind an API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openai import AsyncOpenAI

from actors.admission import Admission, KVCache
from actors.black_box import BlackBoxSession, unit_pattern
from actors.engine_spec import EngineSpec
from actors.group_task import GroupTask
from actors.rollout import EngineKey, RolloutActor
from tandem.cogeneration import Session
from tandem.config.black_box import BlackBox
from tandem.rollout import JUNIOR
from tandem.schedule import noise_seed


class BlackBoxActor(RolloutActor):
    """An actor with the senior's engine, which writes with `box`. `step_end` ends a step."""

    def __init__(self, specs: Sequence[EngineSpec], box: BlackBox, settings: dict[str, Any], step_end: str) -> None:
        super().__init__(specs)
        self._box, self._step_end = box, step_end
        self._client = AsyncOpenAI(**settings)

    async def start(self) -> int:
        """Start the senior's engine; return the most rollouts that it writes at a time."""
        most = await super().start()
        self.admissions[JUNIOR, 0] = Admission(KVCache(blocks=most, block_tokens=1, longest=1), most)
        return most

    async def close(self) -> None:
        """End the engine's process and the connections."""
        await super().close()
        await self._client.close()

    def _author_session(self, key: EngineKey, rollout_id: str, seed: int, age_rank: int, task: GroupTask) -> Session:
        if key[0] != JUNIOR:
            return super()._author_session(key, rollout_id, seed, age_rank, task)
        prompt_ids = task.prompt.token_ids
        # A server begins every text with this token by itself.
        begins = prompt_ids[:1] == (self._tokenizer.bos_token_id,)
        return BlackBoxSession(
            self._client,
            self._box,
            self._vocabulary,
            self._common.eos_ids[0],
            prompt=self._tokenizer.decode(prompt_ids[begins:]),
            prompt_tokens=len(prompt_ids),
            unit=unit_pattern(task.schedule, self._step_end),
            sampling=task.sampling,
            seed=noise_seed(seed, JUNIOR) if task.repeatable else None,
        )
