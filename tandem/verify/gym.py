"""The verifier of `data=reasoning_gym`: every task's own scorer, which may know degrees of being right.

It runs in a worker, as `data.verifier=tandem.verify.gym:score`. The gold answer it is given is the whole entry that the task
generated, as `gold` spells it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from reasoning_gym.factory import create_dataset

from tandem.verify.extract import final_answer
from tandem.verify.judgement import Judgement, Verdict, as_judgement, plain_judgement

_TAGS = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
"""How the tasks' own prompts ask for the answer."""
_TUPLE = "tuple"
"""What marks a tuple in JSON, which has none, but which some scorers tell from a list."""


def gold(task: str, options: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """What a scorer must know, as JSON: the task, its options, and the `entry` (question, answer, metadata) it generated."""
    return json.dumps({"task": task, "options": dict(options), "entry": _marked(dict(entry))})


def score(gold: str, response: str) -> Judgement:
    """The task's score of a response's final answer, which stands between its last `<answer>` tags or, without any, where
    `final_answer` finds it."""
    tagged = final_answer(response, _TAGS)
    answer = final_answer(tagged or response) or tagged
    if answer is None:
        return plain_judgement(Verdict.UNPARSABLE)
    problem = json.loads(gold, object_hook=_unmarked)
    try:
        judged = as_judgement(_task(problem["task"], json.dumps(problem["options"])).score_answer(answer, problem["entry"]))
    # Of an answer that is not in the form they ask for, some scorers raise whatever comes of it.
    except (ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError):
        return plain_judgement(Verdict.UNPARSABLE, answer)
    return Judgement(judged.verdict, answer, judged.score)


@lru_cache(maxsize=256)
def _task(name: str, options: str) -> Any:
    return create_dataset(name, **json.loads(options), seed=0, size=1)


def _marked(value: Any) -> Any:
    """`value` with every tuple marked."""
    if isinstance(value, tuple):
        return {_TUPLE: [_marked(item) for item in value]}
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    return value


def _unmarked(value: dict[str, Any]) -> Any:
    return tuple(value[_TUPLE]) if value.keys() == {_TUPLE} else value
