"""The cost of translation: a junior that is a copy of the senior with renumbered tokens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from actors.engine_spec import pack_boundaries
from bench.engines import EnginePair, engine_pair
from bench.modes import Mode, Writing, write_all, write_rollout
from bench.workload import Workload
from tandem.cogeneration import Session
from tandem.rollout import JUNIOR, SENIOR, Rollout
from tandem.tokenization.byte_vocabulary import ByteVocabulary
from tandem.translation import TranslatedSession, Translation, stop_table


def renumber(model: Path, folder: Path) -> Path:
    """Write the model of a Hugging Face directory to `folder` with its token ids reversed; return `folder`."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    last = len(tokenizer) - 1
    spelt = json.loads(tokenizer.backend_tokenizer.to_str())
    spelt["model"]["vocab"] = {surface: last - token for surface, token in spelt["model"]["vocab"].items()}
    spelt["added_tokens"] = [{**added, "id": last - added["id"]} for added in reversed(spelt["added_tokens"])]
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(spelt)),
        chat_template=tokenizer.chat_template,
        **tokenizer.special_tokens_map,
    ).save_pretrained(folder)
    copy = AutoModelForCausalLM.from_pretrained(model)
    # Tied weights are one parameter and must be reversed once.
    for weight in {copy.get_input_embeddings().weight, copy.get_output_embeddings().weight}:
        weight.data[: last + 1] = torch.flip(weight.data[: last + 1], dims=[0])
    copy.generation_config = GenerationConfig()  # it would hold the old end-of-sequence ids
    copy.save_pretrained(folder)
    return folder


@asynccontextmanager
async def translated(work: Workload) -> AsyncIterator[tuple[Mode, EnginePair]]:
    """Start a pair whose junior has renumbered tokens; yield the mode that writes on it, and the pair."""
    with TemporaryDirectory() as folder:
        renumber(Path(work.specs[SENIOR].model), Path(folder))
        tokenizer, renumbered = (AutoTokenizer.from_pretrained(path) for path in (work.specs[SENIOR].model, folder))
        stops = stop_table(renumbered, "word", work.specs[JUNIOR].vocabulary)
        vocabularies = ByteVocabulary(tokenizer), ByteVocabulary(renumbered)
        translation = Translation(*vocabularies, "word", stops, tokenizer.eos_token_id, frozenset())
        shared = work.specs[JUNIOR]
        # The junior may need more tokens than the senior for the same text.
        own = replace(
            shared,
            model=folder,
            packed_boundaries=pack_boundaries(stops),
            max_model_len=2 * shared.max_model_len,
            stream_interval=2 * shared.max_model_len,
            kv_cache_gib=2 * shared.kv_cache_gib,
        )

        async def write(pair: EnginePair, work: Workload, tag: str) -> list[Rollout]:
            def rollout(index: int) -> Writing:
                rollout_id, prompt = f"{tag}/{index}", work.prompts[index]
                senior, junior = (pair.engines[a].session(rollout_id, work.sampling) for a in (SENIOR, JUNIOR))
                read = [len(renumbered) - 1 - token for token in prompt]
                translated = TranslatedSession(junior, translation, read, len(prompt), own.max_model_len)
                sessions: dict[int, Session] = {SENIOR: senior, JUNIOR: translated}
                return write_rollout(work, index, rollout_id, sessions, work.schedule)

            return await write_all(map(rollout, range(len(work.prompts))))

        async with engine_pair(work.specs | {JUNIOR: own}) as pair:
            yield write, pair
