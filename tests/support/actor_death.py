"""Kill Ray actors in tests."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError


def kill_actor(actor: Any) -> None:
    """Kill `actor`. Returns when it is dead: `ray.kill` returns earlier, while the actor can still answer."""
    ray.kill(actor)
    while True:
        try:
            ray.get(actor.__ray_ready__.remote(), timeout=60)
        except ActorUnavailableError:
            continue
        except ActorDiedError:
            return
