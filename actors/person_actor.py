"""The rollout actor of texts that a person writes with a model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from actors.engine_spec import EngineSpec
from actors.group_task import GroupTask
from actors.rollout import RolloutActor
from actors.token_stream import WrittenTokens
from tandem.cogeneration import Session, Tokens, cogenerate
from tandem.person import BY_HAND, InterruptibleSession, Person, PersonSession
from tandem.rollout import Rollout


class PersonActor(RolloutActor):
    """An actor with the engine of one author; a person stands in for the other.

    `written` returns the tokens of both (see `RolloutActor.written`). `WrittenTokens` of the person without any token mean that
    the person is asked to write. The model's turns follow the schedule of the task.
    """

    def __init__(self, specs: Sequence[EngineSpec]) -> None:
        super().__init__(specs)
        ((self._model, _),) = self._specs
        self._persons: dict[str, Person] = {}

    async def decide(self, rollout_id: str, token_ids: Sequence[int]) -> bool:
        """Write `token_ids`, or let the model go on if there are none. Return False if the person may not do this now."""
        person = self._persons.get(rollout_id)
        return person is not None and person.decide(token_ids)

    async def ask_for_pen(self, rollout_id: str) -> bool:
        """End the turn of the model, if it is writing. Return whether the text is being written."""
        if person := self._persons.get(rollout_id):
            person.ask_for_pen()
        return person is not None

    async def _write(self, task: GroupTask, rollout_id: str, seed: int) -> Rollout:
        limits, requests, age_rank = self._limits(task), itertools.count(), next(self._ages)

        def show(author: int, tokens: Tokens) -> None:
            self._stream.add(WrittenTokens(rollout_id, author, tokens.ids, tokens.logprobs))

        def open_session() -> Session:
            key, name = (self._model, 0), f"{rollout_id}/{next(requests)}"
            return self._observed(key, self._author_session(key, name, seed, age_rank, task), name, task)

        person = Person(1 - self._model, show)
        model = InterruptibleSession(open_session, person, task.schedule, self._boundaries, seed, limits.eos_ids)
        sessions: dict[int, Session] = {self._model: model, person.author: PersonSession(person, limits.eos_ids)}
        async with self.admissions[self._model, 0]:
            self._persons[rollout_id] = person
            try:
                prompt = task.prompt.token_ids
                rollout = await cogenerate(rollout_id, prompt, sessions, BY_HAND, self._boundaries, seed, limits)
            finally:
                del self._persons[rollout_id]
        return self._finished(rollout, BY_HAND)
