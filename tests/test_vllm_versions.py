"""What engines are told under each version of vLLM."""

from __future__ import annotations

from importlib import import_module

import pytest
from vllm.v1.core.sched.scheduler import Scheduler

from actors.vllm_versions import ROWS, SLOTS, check_vllm, differences, vllm_version
from tandem.config import ConfigError


@pytest.mark.parametrize("installed", ["0.32.0", "0.32.0+cpu", "0.32.1", "0.33.0rc1", "1.0"])
def test_the_supported_version_and_newer_ones_are_taken_as_they_are(installed: str) -> None:
    told = differences(installed)
    assert told.prefix_caching is None and not told.sentinel_environment
    assert told.processors == {"cpu": ROWS, "cuda": SLOTS}
    check_vllm("scheduler", installed)
    check_vllm("sentinel", installed)


@pytest.mark.parametrize("installed", ["0.25.0", "0.25.1", "0.26.0", "0.31.2+cu130"])
def test_an_older_version_keeps_no_prefixes_and_runs_the_older_runner(installed: str) -> None:
    told = differences(installed)
    assert told.prefix_caching is False
    assert told.processors == {"cpu": ROWS, "cuda": ROWS}
    assert told.sentinel_environment == {"VLLM_USE_V2_MODEL_RUNNER": "0"}
    check_vllm("sentinel", installed)
    with pytest.raises(ConfigError, match=f"rollout.turn_end=scheduler: .* {installed.replace('+', '.')} .*turn_end=sentinel"):
        check_vllm("scheduler", installed)


@pytest.mark.parametrize("turn_end", ["scheduler", "sentinel"])
@pytest.mark.parametrize("installed", ["0.24.0", "0.9.2", "0.21.0+cpu"])
def test_a_version_that_is_too_old_is_refused(installed: str, turn_end: str) -> None:
    with pytest.raises(ConfigError, match=r"vllm 0\.\d.*: engines need 0\.25 or newer, and are tested with 0\.32"):
        check_vllm(turn_end, installed)


def test_the_installed_version_is_the_supported_one_and_has_what_is_leant_on() -> None:
    assert differences(vllm_version()) == differences("0.32")
    assert hasattr(Scheduler, "_update_request_with_output")
    for path in (ROWS, SLOTS):
        module, name = path.split(":")
        assert hasattr(import_module(module), name)
