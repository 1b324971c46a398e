"""One training step's update: mini-batches -> micro-batches -> gradients -> optimizer steps.

The plan gives every token its coefficient in the loss of its *mini-batch*, so the losses of micro-batches and ranks add up.
DeepSpeed averages gradients over the ranks. Each loss is multiplied by the number of ranks, so that the average is the sum.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import torch
import torch.distributed as dist
from deepspeed.runtime.engine import DeepSpeedEngine
from torch import Tensor

from learner.reference import Reference
from learner.zero import drop_gradients
from tandem.batching import MicroBatch, MiniBatch, RankPlan, collate
from tandem.config.schema import Config
from tandem.loss import corrected, gap, micro_batch_loss
from tandem.metrics import step_metrics
from tandem.optim import learning_rate


class Updater:
    """Trains the policy in `engine` on the rank's share of one step at a time. Every rank has one.

    `reference` is the model of the Kullback-Leibler term, if there is one. `skipped_in_a_row` is the number of optimizer steps
    that were skipped immediately before.
    """

    def __init__(
        self,
        engine: DeepSpeedEngine,
        optimizer: torch.optim.Optimizer,
        config: Config,
        reference: Reference | None = None,
        *,
        skipped_in_a_row: int = 0,
    ) -> None:
        self.engine, self._optimizer, self._config, self._reference = engine, optimizer, config, reference
        self._rank, self._ranks = dist.get_rank(), dist.get_world_size()
        self._sums: defaultdict[str, Tensor] = defaultdict(self._zero)
        self.skipped_in_a_row = skipped_in_a_row

    def update(self, plan: RankPlan, step: int) -> dict[str, float]:
        """Take one optimizer step for each mini-batch of `plan`, this rank's share of training step `step` (from 1).

        Return the metrics, equal on all ranks.

        Without a counted token no optimizer step is taken. A step whose gradient norm is not finite is skipped and counted as
        grad/skipped.
        """
        lr = learning_rate(self._config.learner, step, self._config.steps)
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = lr
        self._sums.clear()
        mini_batches = [tuple(map(collate, mini_batch)) for mini_batch in plan]
        if self._config.algo.old_logprobs == "learner":
            mini_batches = [self._recompute_old(mini_batch) for mini_batch in mini_batches]
        norms = []
        for index, mini_batch in enumerate(mini_batches):
            # Only before the first optimizer step are the learner's weights the ones that wrote the rollouts.
            self.accumulate(mini_batch, count_gap=index == 0 and self._config.algo.old_logprobs == "rollout")
            norms.append(self.step())
            self.skipped_in_a_row = 0 if math.isfinite(norms[-1]) else self.skipped_in_a_row + 1
        return self._metrics(norms) | {"learner/lr": lr}

    def accumulate(self, mini_batch: MiniBatch, *, count_gap: bool = False) -> None:
        """Accumulate the gradient of the mini-batch's loss in the engine, reduced over the ranks."""
        for index, cpu_batch in enumerate(mini_batch):
            batch = cpu_batch.to(self.engine.device)
            if self._reference:
                batch = replace(batch, reference_logprobs=self._reference.logprobs(batch))
            self.engine.set_gradient_accumulation_boundary(index == len(mini_batch) - 1)
            logprobs, entropies = self.engine(batch.input_ids, batch.positions, batch.targets)
            total, stats = micro_batch_loss(logprobs, batch, self._config.algo)
            self.engine.backward(total * self._ranks)
            self._add(entropy=entropies[batch.senior].sum(), senior=batch.senior.sum(), **stats)
            self._add(real=batch.real_tokens, padded=batch.padded_tokens)
            if count_gap:
                self._add(**gap(batch, logprobs))

    def step(self) -> float:
        """Take the optimizer step and return the gradient's global norm before clipping.

        If the norm is not finite, the weights and the optimizer do not change.
        """
        if self.engine.zero_optimization_stage() > 0:
            self.engine.step()
            norm = float(self.engine.get_global_grad_norm())
            if not math.isfinite(norm):
                drop_gradients(self.engine)
            return norm
        # Without ZeRO, DeepSpeed neither reports the norm nor refuses one that is not finite.
        gradients = [p.grad for p in self.engine.module.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        if math.isfinite(norm):
            self.engine.step()
        else:
            self.engine.zero_grad()
        return norm

    @torch.no_grad()
    def _recompute_old(self, mini_batch: MiniBatch) -> MiniBatch:
        """Return the mini-batch with the learner's current log-probabilities as the ratio's denominator, with `algo.mismatch`
        applied.
        """
        recomputed = []
        for batch in mini_batch:
            moved = batch.to(self.engine.device)
            logprobs, _ = self.engine(moved.input_ids, moved.positions, moved.targets)
            self._add(**gap(moved, logprobs))
            recomputed.append(self._corrected(replace(batch, old_logprobs=logprobs.cpu())))
        return tuple(recomputed)

    def _corrected(self, batch: MicroBatch) -> MicroBatch:
        """Return the micro-batch with `algo.mismatch` in its coefficients."""
        if self._config.algo.mismatch == "none":
            return batch
        batch, stats = corrected(batch, self._config.algo)
        self._add(**stats)
        return batch

    def _zero(self) -> Tensor:
        return torch.zeros((), dtype=torch.float64, device=self.engine.device)

    def _add(self, **values: Tensor | int) -> None:
        for name, value in values.items():
            self._sums[name] += value.detach() if isinstance(value, Tensor) else value

    def _metrics(self, norms: list[float]) -> dict[str, float]:
        """Add the step's sums over the ranks and return its metrics."""
        sums: dict[str, float] = {}
        if self._sums:  # on all ranks or on none: all plan the same step
            stacked = torch.stack(list(self._sums.values()))
            dist.all_reduce(stacked)
            stacked /= self._config.learner.sequence_parallel  # ranks that split sequences count the same tokens
            sums = dict(zip(self._sums, stacked.tolist(), strict=True))
        finite = [norm for norm in norms if math.isfinite(norm)]
        metrics = step_metrics(sums, len(norms)) | {
            "grad/skipped": float(len(norms) - len(finite)),
            "grad/skipped_in_a_row": float(self.skipped_in_a_row),
        }
        if finite:
            metrics["grad/norm"] = sum(finite) / len(finite)
        return metrics
