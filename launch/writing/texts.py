"""The texts that a person writes with the model, as events for the page."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from actors.group_task import GroupTask
from actors.replica import ReplicaFailed, RolloutError
from actors.streaming_pool import StreamingPool
from launch.writing.folder import WritingFolder
from tandem import guards
from tandem.authors import Authors
from tandem.config.schema import Config, ConfigError
from tandem.person import BY_HAND
from tandem.rollout import AUTHOR_NAMES, SENIOR, Group, Prompt, Rollout
from tandem.runtime.errors import plain_error
from tandem.runtime.restarts import in_short
from tandem.schedule import STEP_ENDS, boundary_rule, unannealed_schedule
from tandem.tokenization.byte_vocabulary import ByteVocabulary
from tandem.tokenization.detokenizer import Detokenizer
from tandem.verify.pool import VerifierPool

Event = dict[str, Any]


class Texts:
    """Texts for `prompts`, which `person` writes with the author of the engine in `pool`. Finished ones are kept in `folder`.

    Raises `ConfigError` when the senior's tokenizer cannot encode what a person types.
    """

    def __init__(
        self,
        config: Config,
        authors: Authors,
        person: int,
        prompts: Sequence[Prompt],
        pool: StreamingPool,
        verifier: VerifierPool,
        folder: WritingFolder,
    ) -> None:
        self._authors, self._person, self._prompts, self._pool = authors, person, prompts, pool
        self._verifier, self._folder, self._judging = verifier, folder, asyncio.Lock()
        self._stopped = False
        self._schedule, self._sampling = unannealed_schedule(config.schedule), config.rollout.sampling
        self._step_end = STEP_ENDS.get(boundary_rule(config, config.schedule), "")
        try:
            self._vocabulary = ByteVocabulary(authors.tokenizer)
        except ValueError as error:
            raise ConfigError(f"senior: {error}, which a person's text needs; choose another senior") from error

    async def write(self, problem: int) -> AsyncGenerator[Event, None]:
        """Write one text: yield its events. When the generator is closed, the text is cancelled.

        `begin` holds the text's id, `text` what an author adds, `asked` that it is the person's turn, `end` the verdict, and
        `error` why the text could not be written.
        """
        name, prompt = secrets.token_hex(8), self._prompts[problem % len(self._prompts)]
        yield {
            "event": "begin",
            "id": name,
            "person": AUTHOR_NAMES[self._person],
            "question": prompt.problem.question,
            "place": f"problem {problem % len(self._prompts) + 1} of {len(self._prompts)}",
        }
        seed = secrets.randbelow(2**32)
        task = GroupTask(prompt, (name,), (seed,), self._schedule, self._sampling)
        detokenizer, author = Detokenizer(self._authors.tokenizer), SENIOR
        try:
            async with aclosing(self._pool.stream(task)) as parts:
                begun = False
                async for part in parts:
                    if isinstance(part, Rollout):
                        added = detokenizer.end()
                    elif part.ids:
                        begun, author, added = True, part.author, "".join(map(detokenizer.add, part.ids))
                    else:
                        added = ""
                        yield {"event": "asked", "may_pass": begun}
                    if added:
                        yield {"event": "text", "author": AUTHOR_NAMES[author], "text": added}
                    if isinstance(part, Rollout):
                        yield await self._end(Group(prompt, [part], BY_HAND))
        except ReplicaFailed:
            yield {"event": "error", "message": "the engine failed and restarts; begin again"}
        except (RolloutError, guards.GuardError) as error:
            message = (
                "the program has ended" if self._stopped else f"the text could not be written: {in_short(plain_error(error))}"
            )
            yield {"event": "error", "message": message}

    def stop(self) -> None:
        """Cancel all texts: the program ends."""
        self._stopped = True
        self._pool.cancel_all()

    async def decide(self, name: str, text: str, *, ends: bool) -> bool:
        """Write `text`, and end the whole text if it `ends`; an empty text lets the model go on.

        Unless `text` ends the whole text or a step, the end of a step is added. Return False if it is not the person's turn, or
        if the person may not let the model go on yet.
        """
        if text and not ends and not text.endswith(self._step_end):
            text = text.rstrip("\n") + self._step_end
        ids = self._vocabulary.encode(text.encode(errors="replace")) + [self._authors.eos_ids[0]] * ends
        return await self._ask(name, "decide", ids)

    async def ask_for_pen(self, name: str) -> bool:
        """End the model's turn, if it is writing. Return whether the text is being written."""
        return await self._ask(name, "ask_for_pen")

    async def _ask(self, name: str, method: str, *arguments: Any) -> bool:
        try:
            return bool(await self._pool.ask(name, method, *arguments))
        except (KeyError, ReplicaFailed):
            return False

    async def _end(self, group: Group) -> Event:
        """Check, judge and keep a finished text; return the event that says so. Raises `GuardError` if it does not replay."""
        guards.check_authorship([group], self._authors.boundaries)
        problem, (rollout,) = group.prompt.problem, group.rollouts
        async with self._judging:
            group.judgements = await asyncio.to_thread(self._verifier.grade, [(problem.answer, group.responses[0])])
        try:
            full = not self._folder.keep(group, self._person, self._authors.tokenizer)
            unkept = "the disk is full" if full else ""
        except (OSError, ConfigError) as error:
            unkept = str(error)
        (judgement,) = group.judgements
        return {
            "event": "end",
            "verdict": judgement.verdict.value,
            "extracted": judgement.extracted,
            "gold": problem.answer,
            "reason": rollout.end.value,
            "folder": str(self._folder.path),
            "unkept": unkept,
        }
