"""Builders of a small tokenizer, a model folder, groups of rollouts that follow a schedule, and an admission."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from actors.admission import Admission, KVCache
from tandem.data.arith import draw, plain
from tandem.models.zoo.tokenizer import train_tokenizer
from tandem.replay import replay
from tandem.rollout import FROZEN_VERSION, EndReason, Group, Problem, Prompt, Rollout, Verdict
from tandem.schedule import Schedule
from tandem.verify.judgement import plain_judgement

WORD = Schedule()


@cache
def small_tokenizer() -> PreTrainedTokenizerBase:
    """Return a byte-level BPE tokenizer of 320 tokens, trained on the offline task."""
    return train_tokenizer(_arith_texts(), 320)


@cache
def foreign_tokenizer() -> PreTrainedTokenizerBase:
    """Another byte-level BPE, made like GPT-2's: other merges, more of them, special tokens, a normal form and a chat template
    of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<eot>", "<sys>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*_arith_texts(), *["  the é 漢字 🙂\n\n" * 20]], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<eot>",
        additional_special_tokens=["<sys>"],
        chat_template="{% for message in messages %}<sys>{{ message.content }} Think.\n{% endfor %}",
    )


@cache
def sentencepiece_tokenizer() -> PreTrainedTokenizerBase:
    """A SentencePiece vocabulary made like Gemma's: U+2581 for a space, and a token for each byte."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<pad>", "<eos>", "<sys>"], show_progress=False)
    trained.train_from_iterator([*_arith_texts(), "  the \n\n" * 20], trainer)
    model = json.loads(trained.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    vocabulary |= {f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [(left, right) for left, right in model["merges"]], byte_fallback=True))
    tokenizer.normalizer = trained.normalizer
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        additional_special_tokens=["<sys>"],
        chat_template="{% for message in messages %}<sys>{{ message.content }}\n{% endfor %}",
    )


def _arith_texts() -> list[str]:
    chains = [draw(Random(i)) for i in range(50)]
    return [text for chain in chains for text in (chain.problem().question, plain(chain, 0, Random(0)))]


SMALL = {
    "vocab_size": 320,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 4096,
}


def save_model(folder: Path, tokenizer: PreTrainedTokenizerBase | None, **shape: float) -> Path:
    """Write a random Qwen3 to a Hugging Face directory, `SMALL` with the changes in `shape`, and `tokenizer` if given."""
    torch.manual_seed(0)
    Qwen3ForCausalLM(Qwen3Config(**SMALL | shape)).save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder


def noisy_copy(model: Path, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Path:
    """Write a model with noise on its weights to a Hugging Face directory: it writes nearly the same."""
    copy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in copy.parameters():
            weights += 0.3 * weights.std() * torch.randn(weights.shape, generator=generator)
    copy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def scheduled_rollout(
    schedule: Schedule, boundaries: np.ndarray, seed: int, tokens: Iterable[int], *, version: int = 0
) -> Rollout:
    """Return a rollout of `tokens` with the authorship of the schedule."""
    token_ids = np.array(list(tokens), np.int32)
    authorship = replay(schedule, boundaries, seed, token_ids).authorship
    return Rollout(
        id=f"step1/0/{seed}",
        prompt_ids=np.array([1, 2, 3], np.int32),
        token_ids=token_ids,
        authorship=authorship,
        logprobs=np.full(len(token_ids), -1.0, np.float32),
        weight_versions=np.where(authorship, version, FROZEN_VERSION).astype(np.int32),
        end=EndReason.EOS,
        seed=seed,
    )


def judged_group(rollouts: list[Rollout], verdicts: list[Verdict] | None = None, schedule: Schedule = WORD) -> Group:
    """Return `rollouts` as the group of one problem, with verdicts (all correct unless given) and the rewards they bring."""
    verdicts = verdicts or [Verdict.CORRECT] * len(rollouts)
    rewards = np.array([verdict is Verdict.CORRECT for verdict in verdicts], np.float32)
    prompt = Prompt(Problem("arith/0", "How many?", "7"), (1, 2, 3))
    judgements = [plain_judgement(verdict, "7") for verdict in verdicts]
    return Group(prompt, rollouts, schedule, judgements, rewards, advantages=rewards - rewards.mean())


def admission(places: int) -> Admission:
    """Return an admission of `places` rollouts at a time, however long they are."""
    return Admission(KVCache(blocks=places, block_tokens=1, longest=1), slots=places)
