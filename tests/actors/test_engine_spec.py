"""Tests of what is sent to an engine's processes: its spec and the pen of a request."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vllm import SamplingParams

from actors.carried_pen import carried_pen, carrying
from actors.engine_spec import EngineSpec, pack_boundaries
from tandem.rollout import JUNIOR
from tandem.schedule import Pen, Schedule

pytestmark = pytest.mark.seconds

BOUNDARIES = np.array([0, 2, 1, 0, 0, 1, 0, 3, 0, 0, 2, 0], np.uint8)
SPEC = EngineSpec(
    author=JUNIOR,
    model="model",
    dtype="float32",
    seed=1,
    max_model_len=128,
    max_num_seqs=6,
    eos_ids=(1, 2),
    packed_boundaries=pack_boundaries(BOUNDARIES),
    vocabulary=len(BOUNDARIES),
    cores=(0, 1),
)

schedules = st.builds(
    Schedule, st.floats(0, 1), max_gap_tokens=st.integers(1, 2**31), alternates=st.booleans(), boundary=st.integers(0, 3)
)
pens = st.builds(Pen, schedules, st.integers(0, 2**32 - 1), st.integers(0, 1), st.integers(0, 10**6), st.integers(0, 10**6))


@given(pen=pens)
def test_request_carries_whole_pen_or_none(pen: Pen) -> None:
    carried = msgspec.msgpack.decode(msgspec.msgpack.encode(carrying(pen)))  # as vLLM sends it
    assert carried_pen(SamplingParams(extra_args=carried)) == pen
    assert carried_pen(SamplingParams()) is None
    for incomplete in ([1, 2], [[0.5], *pen[1:]]):
        with pytest.raises(ValueError, match="extra_args\\['pen'\\] must hold"):
            carried_pen(SamplingParams(extra_args={"pen": incomplete}))


def test_spec_survives_serialization() -> None:
    assert EngineSpec.from_config(SimpleNamespace(additional_config=SPEC.additional_config())) == SPEC
    with pytest.raises(KeyError):
        EngineSpec.from_config(SimpleNamespace(additional_config={}))


@given(table=st.lists(st.integers(0, 15), min_size=1, max_size=100))
def test_unpacked_boundaries_equal_table(table: list[int]) -> None:
    packed = replace(SPEC, packed_boundaries=pack_boundaries(np.array(table)), vocabulary=len(table))
    assert packed.boundaries().tolist() == table
