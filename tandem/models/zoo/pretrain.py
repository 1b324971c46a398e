"""Pre-training of a base model on the offline task, from a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tandem.data.arith import DIALECTS, draw
from tandem.data.problems import ARITH_RESERVED
from tandem.data.split import held_out
from tandem.models.zoo.recipes import VOCAB_SIZE, Recipe, Shape
from tandem.models.zoo.tokenizer import END, train_tokenizer

_TOKENIZER_TEXTS = 2000


def pretrain(recipe: Recipe, parent: Path | None, directory: Path) -> None:
    """Build the recipe's model and write it to `directory` as a Hugging Face directory (float32).

    `parent` is the directory of the model that the recipe continues from; None: from scratch. On one machine and with one
    number of threads the result depends on the recipe alone. Restores the random state of the process.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if parent is None:
            tokenizer = _new_tokenizer(recipe.seed)
            model = _new_model(recipe.shape, tokenizer)
        else:
            tokenizer = AutoTokenizer.from_pretrained(parent)
            model = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32)
        _train(model, tokenizer, recipe)
    model.eval().save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def _new_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    texts = (prompt + solution for prompt, solution in _examples(Random(seed), 0.5, {"plain": 0.0, "jargon": 0.0}))
    return train_tokenizer((next(texts) for _ in range(_TOKENIZER_TEXTS)), VOCAB_SIZE)


def _new_model(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), tie_word_embeddings=True, **vars(shape), **ends))
    model.generation_config = GenerationConfig(do_sample=True, temperature=1.0, **ends)
    return model


def _examples(random: Random, jargon: float, slips: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Yield questions and solutions without end, none of a problem that can be held out."""
    while True:
        chain = draw(random)
        problem = chain.problem()
        if held_out(problem, ARITH_RESERVED):
            continue
        dialect = "jargon" if random.random() < jargon else "plain"
        yield problem.question, DIALECTS[dialect](chain, slips[dialect], random)


def _train(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> None:
    """Train on next-token prediction of the solutions: AdamW, linear warm-up, cosine decay."""
    slips = {"plain": recipe.slip_plain, "jargon": recipe.slip_jargon}
    examples = _examples(Random(f"{recipe.name}/{recipe.seed}"), recipe.jargon, slips)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _lr_ratio(step, recipe))
    model.train()
    with _progress() as progress:
        task = progress.add_task(f"base model {recipe.name!r}", total=recipe.steps, loss=math.nan)
        for _ in range(recipe.steps):
            loss = _loss(model, *_batch(tokenizer, [next(examples) for _ in range(recipe.batch_size)]))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.grad_clip)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            progress.update(task, advance=1, loss=loss.item())


def _batch(tokenizer: PreTrainedTokenizerFast, examples: list[tuple[str, str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return right-padded token ids [B, L] and the mask [B, L] of the solutions' tokens."""
    rows = []
    for question, solution in examples:
        chat = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        rows.append((tokenizer.encode(prompt), tokenizer.encode(solution + END)))
    length = max(len(prompt) + len(solution) for prompt, solution in rows)
    ids = torch.full((len(rows), length), tokenizer.pad_token_id)
    solution_mask = torch.zeros_like(ids, dtype=torch.bool)
    for i, (prompt, solution) in enumerate(rows):
        ids[i, : len(prompt) + len(solution)] = torch.tensor(prompt + solution)
        solution_mask[i, len(prompt) : len(prompt) + len(solution)] = True
    return ids, solution_mask


def _loss(model: PreTrainedModel, ids: torch.Tensor, solution_mask: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of the solutions' tokens. Right padding needs no attention mask under causal attention."""
    hidden = model.base_model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    targets = solution_mask[:, 1:]
    return cross_entropy(model.get_output_embeddings()(hidden[targets]), ids[:, 1:][targets])


def _lr_ratio(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.min_lr_ratio + (1 - recipe.min_lr_ratio) * (1 + math.cos(math.pi * progress)) / 2


def _progress() -> Progress:
    loss = TextColumn("loss {task.fields[loss]:.3f}")
    return Progress(TextColumn("{task.description}"), BarColumn(), loss, TimeElapsedColumn(), TimeRemainingColumn())
