"""Engines to compare with: `python -m bench.cogen --modes tandem --variant bench.variants:NAME`."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from transformers import AutoTokenizer

from actors.engine import Engine
from actors.engine_spec import EngineSpec
from tandem.zoo import sentinel_token_id


class BySentinel(Engine):
    """Ends turns with a sentinel, as `rollout.turn_end=sentinel` does, and tells of every token when it comes."""

    def __init__(self, spec: EngineSpec) -> None:
        sentinel = sentinel_token_id(AutoTokenizer.from_pretrained(spec.model), spec.vocabulary)
        super().__init__(replace(spec, sentinel=sentinel, stream_interval=1))


class LongSteps(Engine):
    """Computes all that waits in one step, however long the partner then has nothing to do."""

    STEP_TOKENS: ClassVar = {"cpu": 1 << 16}
