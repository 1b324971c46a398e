"""Kill Ray actors in tests."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayActorError


def kill_actor(actor: Any) -> None:
    """Kill `actor`. Returns when it is dead: `ray.kill` returns earlier, while the actor can still answer."""
    ray.kill(actor)
    with suppress(RayActorError):
        while True:
            ray.get(actor.__ray_ready__.remote())
