"""TRL's training of `bench.vs_trl`, in a separate process: `python -m bench.trl_run TASK FILE`, the task as JSON.

TRL generates all rollouts of a step in one batch with transformers, and computes gradients one group at a time.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from bench.vs_trl_task import TimedStep, TrainingTask, reward


class TimedTrainer(GRPOTrainer):
    """Trainer that measures the time of each generation."""

    generate_s = 0.0

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        start = time.perf_counter()
        outputs = super()._generate_and_score_completions(inputs)
        self.generate_s = time.perf_counter() - start
        return outputs


class StepRecorder(TrainerCallback):
    """Callback that records a `TimedStep` for every training step."""

    def __init__(self, task: TrainingTask) -> None:
        self.task, self.steps = task, list[TimedStep]()
        self.trainer: TimedTrainer | None = None
        self._start = self._seconds = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock, before the step's rollouts are generated."""
        self._start = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop the clock, after the optimizer."""
        self._seconds = time.perf_counter() - self._start

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Record the step with the rewards and lengths that TRL logs."""
        if "reward" in logs and self.trainer:
            generate_s = self.trainer.generate_s
            tokens = logs["completions/mean_length"] * self.task.rollouts
            self.steps.append(TimedStep(generate_s, self._seconds - generate_s, tokens, logs["reward"]))


def train(task: TrainingTask) -> list[TimedStep]:
    """Train on the task with `GRPOTrainer`; return its steps."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    problems = [problem for step in range(task.steps) for problem in task.batch(step)]
    rows = [{"prompt": [{"role": "user", "content": each.question}], "answer": each.answer} for each in problems]

    def rewards(completions: list[list[dict[str, str]]], answer: list[str], **_: Any) -> list[float]:
        return [reward(messages[0]["content"], gold) for messages, gold in zip(completions, answer, strict=True)]

    recorder = StepRecorder(task)
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            max_steps=task.steps,
            per_device_train_batch_size=task.group_size,
            gradient_accumulation_steps=task.prompts_per_step,
            num_generations=task.group_size,
            max_completion_length=task.max_tokens,
            temperature=task.temperature,
            top_p=1.0,
            top_k=0,
            learning_rate=task.lr,
            lr_scheduler_type="constant",
            adam_beta1=task.betas[0],
            adam_beta2=task.betas[1],
            weight_decay=0.0,
            max_grad_norm=task.max_grad_norm,
            epsilon=task.clip,
            beta=0.0,
            loss_type="dapo",  # the mean over all tokens of the step
            shuffle_dataset=False,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=task.seed,
            model_init_kwargs={"dtype": "float32", "attn_implementation": "sdpa"},
        )
        trainer = TimedTrainer(
            model=task.model,
            reward_funcs=rewards,
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(task.model),
            callbacks=[recorder],
        )
        recorder.trainer = trainer
        trainer.train()
    return recorder.steps


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    results = train(TrainingTask(**{**settings, "betas": tuple(settings["betas"])}))
    Path(sys.argv[2]).write_text(json.dumps([asdict(step) for step in results]), encoding="utf-8")
