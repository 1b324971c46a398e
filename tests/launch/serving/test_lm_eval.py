"""lm-evaluation-harness as a client of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_eval
import pytest
import requests
from lm_eval import evaluator, tasks
from openai import OpenAI

from tandem.authors import Authors
from tests.support import ROOT
from tests.support.server import ServerProcess

pytestmark = pytest.mark.engines
FOLDER = Path(__file__).with_name("lm_eval_tasks")


def evaluated(server: ServerProcess, authors: Authors, model: str, client: str, path: str, task: str) -> dict[str, Any]:
    """Return what lm-eval reports about `task`, which it samples with its client `client`."""
    settings = {"model": model, "base_url": f"{server.url}/v1/{path}", "max_retries": 1}
    if client == "local-completions":
        settings |= {"tokenizer": str(authors.senior), "tokenizer_backend": "huggingface"}
    manager = tasks.TaskManager(include_path=str(FOLDER), include_defaults=False)
    result: dict[str, Any] = lm_eval.simple_evaluate(
        model=client,
        model_args=settings,
        tasks=[task],
        task_manager=manager,
        apply_chat_template=True,
        bootstrap_iters=0,
        log_samples=True,
    )
    return result


@pytest.fixture(autouse=True)
def in_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(evaluator, "add_env_info", lambda results: None)  # asks pip and the machine for seconds


@pytest.mark.parametrize("model", ["senior", "junior", "team"])
def test_both_clients_grade_the_greedy_texts(server: ServerProcess, authors: Authors, model: str) -> None:
    texts = {}
    for kind, path in (("local-completions", "completions"), ("local-chat-completions", "chat/completions")):
        result = evaluated(server, authors, model, kind, path, "tandem_sums")
        samples = result["samples"]["tandem_sums"]
        texts[kind] = [sample["resps"][0][0] for sample in samples]
        right = [f"\\boxed{{{sample['doc']['answer']}}}" in text for sample, text in zip(samples, texts[kind], strict=True)]
        assert [sample["exact_match"] for sample in samples] == right
        assert result["results"]["tandem_sums"]["exact_match,boxed"] == sum(right) / 8
    assert texts["local-completions"] == texts["local-chat-completions"]
    client = OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    asked: Any = [{"role": "user", "content": samples[0]["doc"]["question"]}]
    answer = client.chat.completions.create(model=model, messages=asked, temperature=0, max_tokens=96)
    assert answer.choices[0].message.content == texts["local-completions"][0]


def test_likelihoods_of_given_texts_are_refused(server: ServerProcess, authors: Authors) -> None:
    with pytest.raises(requests.HTTPError, match="400 Client Error"):
        evaluated(server, authors, "senior", "local-completions", "completions", "tandem_choice")
