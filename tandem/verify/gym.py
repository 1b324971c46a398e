"""The verifier of `data=reasoning_gym`: the scorer of each task, which may give partial scores.

It runs in a worker, as `data.verifier=tandem.verify.gym:score`. Its gold answer is the whole entry that the task generated, as
`gold` encodes it.
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
"""The format that the tasks' prompts ask for."""
_TUPLE = "tuple"
"""The key that marks a tuple in JSON: some scorers treat tuples and lists differently."""


def gold(task: str, options: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """Return the input of a scorer as JSON: the task, its options and its generated `entry` (question, answer, metadata)."""
    return json.dumps({"task": task, "options": dict(options), "entry": _marked(dict(entry))})


def score(gold: str, response: str) -> Judgement:
    """Return the task's judgement of the final answer of `response`.

    That is the text between the last `<answer>` tags or, without tags, the result of `final_answer`.
    """
    tagged = final_answer(response, _TAGS)
    answer = final_answer(tagged or response) or tagged
    if answer is None:
        return plain_judgement(Verdict.UNPARSABLE)
    problem = json.loads(gold, object_hook=_unmarked)
    try:
        judgement = as_judgement(_task(problem["task"], json.dumps(problem["options"])).score_answer(answer, problem["entry"]))
    # Some scorers raise one of these errors for an answer that is not in the required form.
    except (ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError):
        return plain_judgement(Verdict.UNPARSABLE, answer)
    return Judgement(judgement.verdict, answer, judgement.score)


@lru_cache(maxsize=256)
def _task(name: str, options: str) -> Any:
    """Return the dataset of the task `name`, whose scorer judges; `options` is JSON."""
    return create_dataset(name, **json.loads(options), seed=0, size=1)


def _marked(value: Any) -> Any:
    """Return `value` with every tuple marked."""
    if isinstance(value, tuple):
        return {_TUPLE: [_marked(item) for item in value]}
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    return value


def _unmarked(value: dict[str, Any]) -> Any:
    """Return the tuple that `value` marks, or `value` itself."""
    return tuple(value[_TUPLE]) if value.keys() == {_TUPLE} else value
