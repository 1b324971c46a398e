"""Which replica is given the next group: the one with the fewest outstanding tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.rollout import GroupTask
from tandem.rollout import Group

FILL = 2
"""Outstanding rollouts of a replica for each that it admits, at which it has enough. A group is outstanding until its longest
rollout ends, when most of the others have long left their slots: with as many waiting as are admitted, no slot falls idle."""


@dataclass
class Outstanding:
    """What one replica was given and has not returned."""

    rollouts: int = 0
    prompt_tokens: int = 0
    """of each group once: its rollouts share the prompt's KV blocks"""


class Dispatch:
    """Shares one batch of groups out to replicas; the rest waits in the driver until a replica has room.

    `admitted` says how many rollouts each replica writes at a time, `max_tokens` how long one may get. A rollout counts as many
    tokens as those returned have on average, and `max_tokens` until the first returns.
    """

    def __init__(self, admitted: Sequence[int], max_tokens: int) -> None:
        self._admitted = admitted
        self._outstanding = [Outstanding() for _ in admitted]
        self._tokens_each = float(max_tokens)
        self._returned_rollouts = self._returned_tokens = 0

    def next_replica(self, up: Sequence[bool]) -> int | None:
        """The replica to give the next group to, among those that are `up`; None while all have enough."""
        hungry = [i for i, given in enumerate(self._outstanding) if up[i] and given.rollouts < FILL * self._admitted[i]]
        return min(hungry, key=self.outstanding_tokens, default=None)

    def outstanding_tokens(self, replica: int) -> float:
        """An estimate of what `replica` was given and has not returned: prompts, and rollouts at their average length."""
        given = self._outstanding[replica]
        return given.prompt_tokens + given.rollouts * self._tokens_each

    def give(self, replica: int, task: GroupTask) -> None:
        """Counts `task` as given to `replica`."""
        given = self._outstanding[replica]
        given.rollouts += len(task.rollout_ids)
        given.prompt_tokens += len(task.prompt.token_ids)

    def take_away(self, replica: int, task: GroupTask) -> None:
        """Counts `task` as given to `replica` no longer."""
        given = self._outstanding[replica]
        given.rollouts -= len(task.rollout_ids)
        given.prompt_tokens -= len(task.prompt.token_ids)

    def take_back(self, replica: int, task: GroupTask, group: Group) -> None:
        """Counts `task` as returned by `replica`, as `group`."""
        self.take_away(replica, task)
        self._returned_rollouts += len(group.rollouts)
        self._returned_tokens += sum(map(len, group.rollouts))
        self._tokens_each = self._returned_tokens / self._returned_rollouts
