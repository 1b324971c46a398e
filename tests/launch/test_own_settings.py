"""Tests of settings that only one program takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launch.entry import check_own_settings
from launch.evaluation.difficulty import measure_pass_rates
from tandem.config.schema import Config, ConfigError


def test_every_other_program_refuses_setting() -> None:
    drafts = replace(Config(), speculative=4)
    check_own_settings(drafts, "launch/serve.py")
    with pytest.raises(ConfigError, match="speculative=4: only launch/serve.py takes this; leave it out"):
        check_own_settings(drafts, "launch/train.py")
    with pytest.raises(ConfigError, match="speculative=4: only launch/serve.py takes this; leave it out"):
        measure_pass_rates(drafts)


def test_black_box_is_for_evaluation() -> None:
    boxed = replace(Config(), junior=["openai:http://host/v1,small"])
    check_own_settings(boxed, "launch/evaluate.py")
    with pytest.raises(ConfigError, match=r"junior=\['openai:http://host/v1,small'\]: only launch/evaluate.py takes a junior"):
        check_own_settings(boxed, "launch/train.py")
