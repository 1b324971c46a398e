"""Tests of the flame graph, on stacks as py-spy prints them."""

from __future__ import annotations

import pytest

from bench.flame_graph import KINDS, OTHERS, OURS, VLLM, Frame, draw, roots

pytestmark = pytest.mark.seconds  # it imports vLLM

STEP = "spawn_main (multiprocessing/spawn.py);EngineCoreProc._process_engine_step (vllm/v1/engine/core.py)"
LOOP = "<module> (bench/flame_graph.py);Runner.run (asyncio/runners.py)"
STACKS = [
    f"{STEP};EngineCore.step (vllm/v1/engine/core.py);_TurnEndingScheduler.schedule (actors/handoff_scheduler.py) 5",
    f"{STEP};EngineCore.step (vllm/v1/engine/core.py) 2",
    f"{LOOP};cogenerate (tandem/cogeneration.py);Pen.over (tandem/schedule.py) 3",
    f"{LOOP};write (bench/flame_graph.py);engine_pair (bench/engines.py) 90",
    f"{LOOP};import_module (importlib/__init__.py) 70",
    "Thread.run (threading.py) 40",
]


def test_roots_hold_writing_without_start() -> None:
    engine, actor = roots(STACKS)
    assert (engine.name, engine.samples, actor.name, actor.samples) == ("a step of an engine", 7, "the rollout actor", 3)
    (step,) = engine.calls.values()
    (schedule,) = step.calls.values()
    assert (step.samples, step.label, schedule.samples, schedule.label) == (7, "step", 5, "schedule")
    (cogenerate,) = actor.calls.values()
    assert cogenerate.label == "cogenerate" and [call.label for call in cogenerate.calls.values()] == ["over"]
    assert [frame.color for frame in (engine, step, schedule, cogenerate)] == [OTHERS, VLLM, OURS, OURS]


def test_every_function_above_the_smallest_share_is_drawn() -> None:
    every = Frame("root")
    every.add(["wide (vllm/a.py)", "within (actors/b.py)"], 996)
    every.add(["narrow (vllm/c.py)"], 2)
    every.add(["other (json/d.py)"], 5)
    (axes,) = draw([every]).axes
    assert len(axes.patches) == 4 and {text.get_text() for text in axes.texts} == {"root 100%", "wide 99%", "within 99%"}
    assert len(KINDS) == len(axes.figure.legends[0].get_texts())
