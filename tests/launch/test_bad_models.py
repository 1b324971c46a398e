"""Tests of models that training cannot use: exit code 2 and a message, before any engine starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from tests.support.builders import save_model, small_tokenizer

pytestmark = pytest.mark.seconds

Refused = Callable[..., str]


def test_model_without_tokenizer_is_refused(refused: Refused, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", None)
    message = refused("model=hf", f"model.path={folder}")
    assert message.startswith(f"model.path={folder}: there are no tokenizer files")


def test_truncated_model_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(model, tmp_path / "damaged")
    os.truncate(damaged / "model.safetensors", 5000)
    for arguments in ([f"model.path={damaged}"], [f"model.path={model}", f"junior=[self,{damaged}]"]):
        named = arguments[-1].replace("junior=[self,", "junior[1]=").removesuffix("]")
        assert refused("model=hf", *arguments).startswith(f"{named}: model.safetensors is damaged or incomplete, 5,000 bytes: ")


def test_model_with_short_context_is_refused(refused: Refused, model: Path) -> None:
    base = ["model=hf", f"model.path={model}", "data.max_prompt_tokens=100"]
    for key, other in (("rollout", "eval"), ("eval", "rollout")):
        message = refused(*base, f"{key}.sampling.max_tokens=4000", f"{other}.sampling.max_tokens=3995")
        assert message.startswith(
            f"model: its context is 4096 tokens, but data.max_prompt_tokens=100 and {key}.sampling.max_tokens=4000 need 4101; "
        )
    message = refused(*base, "rollout.sampling.max_tokens=4000", "eval.sampling.max_tokens=3996")
    assert "rollout.sampling.max_tokens=4000 and eval.sampling.max_tokens=3996 need 4101; lower one of them" in message


def test_junior_with_another_tokenizer_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    other = small_tokenizer().__class__.from_pretrained(model)
    other.add_tokens(["Mia"])
    junior = save_model(tmp_path / "junior", other, vocab_size=len(other))
    message = refused("model=hf", f"model.path={model}", f"junior=[self,{junior}]")
    assert message.startswith(f"junior[1]={junior}: the junior's tokenizer differs from the senior's in 1 tokens ('Mia'")


def test_junior_whose_tokens_are_no_bytes_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"▁a": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>")), eos_token="</s>"
    )
    junior = save_model(tmp_path / "junior", words)
    message = refused("model=hf", f"model.path={model}", f"junior=[{junior}]", "junior_translation=true")
    assert (
        message.startswith(f"junior[0]={junior}: the vocabulary of") and "neither byte-level BPE nor SentencePiece" in message
    )


def test_junior_with_short_context_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    junior = save_model(tmp_path / "junior", small_tokenizer(), max_position_embeddings=100)
    message = refused("model=hf", f"model.path={model}", f"junior=[{junior}]", "data.max_prompt_tokens=64")
    assert message.startswith(f"junior[0]={junior}: its context is 100 tokens, but data.max_prompt_tokens=64")


def test_missing_junior_is_refused(refused: Refused) -> None:
    assert refused("junior=[self,/no/such/model]").startswith("junior[1]=/no/such/model: there is no such directory")
