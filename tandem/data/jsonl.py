"""Problems from a file of JSON lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from tandem.config import ConfigError, DataConfig
from tandem.rollout import Problem

SHOWN_ERRORS = 10
"""How many malformed lines one error message spells out."""


def read_jsonl(path: str, key: str, data: DataConfig) -> list[Problem]:
    """The problems of the file at `path`, which the configuration names as `key`; blank lines are skipped.

    A problem's id is a hash of its question, so that a question that occurs twice counts once. Raises `ConfigError` when the
    file is missing, holds no problem, or has malformed lines: the first ten are named by number, with what is wrong.
    """
    if not path:
        raise ConfigError(f"{key} is empty: name a file with one JSON object a line")
    if not Path(path).is_file():
        raise ConfigError(f"{key}={path}: there is no such file; name a file with one JSON object a line")
    problems: dict[str, tuple[int, Problem]] = {}
    errors = []
    for number, line in _lines(path):
        try:
            problem = _problem(line, data)
            first, known = problems.setdefault(problem.id, (number, problem))
            if known.answer != problem.answer:
                raise ValueError(f"the question of line {first} with another answer ({problem.answer}, not {known.answer})")
        except ValueError as error:
            errors.append(f"line {number}: {error}")
    if errors:
        shown = errors[:SHOWN_ERRORS] + [f"and {len(errors) - SHOWN_ERRORS} more"] * (len(errors) > SHOWN_ERRORS)
        raise ConfigError(f"{key}={path}: malformed lines: {len(errors)}; correct or remove them\n  " + "\n  ".join(shown))
    if not problems:
        raise ConfigError(f"{key}={path}: the file holds no problem; it needs one JSON object a line")
    return [problem for _, problem in problems.values()]


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


def _problem(line: bytes, data: DataConfig) -> Problem:
    """The problem that one line describes; raises `ValueError` saying what is wrong with the line."""
    try:
        record = json.loads(line)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg}, column {error.colno})") from error
    if not isinstance(record, dict):
        raise ValueError(f"not a JSON object but {type(record).__name__}")
    question = _text(record, data.question_field, "data.question_field", numbers=False)
    answer = _text(record, data.answer_field, "data.answer_field", numbers=True)
    digest = hashlib.blake2b(question.encode(), digest_size=8).hexdigest()
    return Problem(id=f"jsonl/{digest}", question=question, answer=answer)


def _text(record: dict[str, object], field: str, key: str, numbers: bool) -> str:
    """The non-empty text of a field; where `numbers` are allowed they become text."""
    if field not in record:
        raise ValueError(f"no field {field!r} ({key}); it has {', '.join(map(repr, record)) or 'none'}")
    value = record[field]
    if numbers and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"field {field!r} is not text{' or a number' * numbers}: {value!r:.40}")
    if not value.strip():
        raise ValueError(f"field {field!r} is empty")
    return value.strip()
