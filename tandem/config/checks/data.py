"""Check that the data settings fit the source of the problems."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tandem.config.data import ENDLESS, FILES
from tandem.verify.extract import compile_pattern

if TYPE_CHECKING:
    from tandem.config.data import DataConfig


def data_errors(data: DataConfig) -> Iterator[str]:
    """Yield the errors in the settings `data`."""
    if data.source in ENDLESS:
        yield from _endless_errors(data)
    else:
        yield from _row_errors(data)
    if data.source == "reasoning_gym":
        yield from _task_errors(data)
    if data.min_pass_rate > data.max_pass_rate:
        yield f"data.min_pass_rate={data.min_pass_rate}: give no more than data.max_pass_rate={data.max_pass_rate}"
    yield from _held_out_errors(data)
    yield from _prompt_errors(data)
    if data.answer_pattern:
        yield from _pattern_errors(data)


def _endless_errors(data: DataConfig) -> Iterator[str]:
    """Yield the errors in the settings of a source that generates problems without end."""
    if data.held_out_problems:
        yield (
            f"data.held_out_problems={data.held_out_problems}: data.source={data.source} has no end; set data.held_out_fraction"
        )
    if data.evaluation_only:
        yield f"data.evaluation_only=True: data.source={data.source} is split by data.held_out_fraction; leave it out"
    if data.pass_rates:
        yield f"data.pass_rates={data.pass_rates}: data.source={data.source} has no end and no such file; leave it out"


def _row_errors(data: DataConfig) -> Iterator[str]:
    """Yield the errors in the settings of a source that has rows."""
    if data.question_field == data.answer_field:
        yield f"data.answer_field={data.answer_field}: it is data.question_field too; name the field of the answer"
    if data.source == "hub" and not data.split:
        yield "data.split is empty: name one of the dataset's splits, such as train"


def _task_errors(data: DataConfig) -> Iterator[str]:
    if find_spec("reasoning_gym") is None:
        yield "data.source=reasoning_gym: the package is not installed; run `pip install reasoning-gym`"
    if not data.tasks:
        yield "data.tasks=[]: name at least one task of reasoning_gym, such as [chain_sum]"
    if len(set(data.tasks)) < len(data.tasks):
        yield f"data.tasks={data.tasks}: name each task once, and give it weight with data.task_weights"
    if data.task_weights and len(data.task_weights) != len(data.tasks):
        yield f"data.task_weights={data.task_weights}: give one for each of the {len(data.tasks)} tasks, or none"


def _held_out_errors(data: DataConfig) -> Iterator[str]:
    if not data.held_out_path:
        return
    if data.source not in FILES:
        yield f"data.held_out_path={data.held_out_path}: data.source={data.source} has no files; choose {' or '.join(FILES)}"
    if data.evaluation_only or data.held_out_problems:
        other = "data.evaluation_only=True" if data.evaluation_only else f"data.held_out_problems={data.held_out_problems}"
        yield f"data.held_out_path={data.held_out_path}: {other} holds out other problems; leave one of them out"


def _prompt_errors(data: DataConfig) -> Iterator[str]:
    if data.system and not data.chat:
        yield f"data.system={data.system!r:.40}: it needs a chat template; set data.chat=true, or use data.template"
    if "{question}" not in data.template:
        yield f"data.template={data.template!r:.40}: it must contain {{question}}"


def _pattern_errors(data: DataConfig) -> Iterator[str]:
    try:
        compile_pattern(data.answer_pattern, "data.answer_pattern")
    except ValueError as error:
        yield str(error)
    if data.source in ENDLESS:
        yield f"data.answer_pattern={data.answer_pattern!r}: data.source={data.source} makes its own answers; leave it out"
    elif data.verifier:
        yield (
            f"data.answer_pattern={data.answer_pattern!r}: data.verifier={data.verifier} is given the whole field; leave one "
            "of them out"
        )
