"""The measures of a senior that need running engines; texts are written and judged when a measure first needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property

from actors.reward import Judge
from actors.rollout_pool import RolloutPool
from tandem import guards
from tandem.authors import Authors
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import Config
from tandem.measures import texts
from tandem.measures.score import Score
from tandem.rollout import Group, Prompt
from tandem.schedule import JUNIOR_ALONE, SOLO, Schedule, unannealed_schedule

Progress = Callable[[str, int], AbstractContextManager[Callable[[object], None]]]
"""Shows the progress of a task with a number of parts; yields a function to call for each finished part."""


class Evaluator:
    """The measures in `config.eval` that need engines, of the senior in `pool` on the held-out `prompts`.

    Every text is sampled by `config.eval.sampling`, from noise that the run's seed and `tag` determine: each evaluation on the
    same engines needs another tag. The senior's weights have `version`. `print_line` shows warnings to the user.
    """

    def __init__(
        self,
        config: Config,
        authors: Authors,
        pool: RolloutPool,
        judge: Judge,
        prompts: Sequence[Prompt],
        *,
        version: int,
        tag: str,
        progress: Progress,
        print_line: Callable[[str], None],
    ) -> None:
        self._config, self._authors, self._pool, self._judge = config, authors, pool, judge
        self._prompts, self._version, self._tag, self._progress, self._print_line = prompts, version, tag, progress, print_line
        self.texts: dict[str, list[Group]] = {}
        """all judged texts so far, by kind"""

    def scores(self) -> dict[str, Score]:
        """Return the scores of all measures that need engines, by name."""
        scorers = {
            "solo": self._solo_scores,
            "handoff": self._team_scores,
            "junior_alone": self._junior_scores,
            "takeover": self._takeover_scores,
        }
        scores: dict[str, Score] = {}
        for measure in self._config.eval.measures:
            if measure in scorers:
                scores |= scorers[measure]()
        return scores

    @cached_property
    def solo(self) -> list[Group]:
        """The texts that the senior writes alone."""
        return self._write("solo", self._prompts, SOLO, samples=self._config.eval.samples)

    @cached_property
    def junior_alone(self) -> list[Group]:
        """The texts that the junior writes alone: one for each problem unless `junior_alone` is measured."""
        samples = self._config.eval.samples if "junior_alone" in self._config.eval.measures else 1
        return self._write("junior_alone", self._prompts, JUNIOR_ALONE, samples=samples)

    def takeover(self, fraction: float) -> list[Group]:
        """Return one text for each problem: `fraction` of the senior's first solution, then the junior's continuation.

        The token budget and the verdict apply to the whole text.
        """
        if fraction == 0:
            return _first_texts(self.junior_alone)
        prefixes = [group.rollouts[0].token_ids[: int(fraction * len(group.rollouts[0]))].tolist() for group in self.solo]
        prompts = [self._extended(*pair) for pair in zip(self._prompts, prefixes, strict=True)]
        return self._write(f"takeover-{fraction:g}", prompts, JUNIOR_ALONE, prefixes=prefixes)

    def _solo_scores(self) -> dict[str, Score]:
        scores = self._correctness(self.solo) | {"tokens": texts.length(self.solo)}
        if self._has_dialects:
            scores["jargon_share"] = texts.jargon_share(self.solo)
            scores |= texts.accuracies_by_dialect(self.solo)
        if self._config.eval.greedy:
            greedy = self._write("greedy", self._prompts, SOLO, temperature=0.0)
            scores["greedy"] = texts.accuracy(greedy)
            if self._has_dialects:
                scores["greedy_jargon_share"] = texts.jargon_share(greedy)
        return {f"solo/{name}": score for name, score in scores.items()}

    def _team_scores(self) -> dict[str, Score]:
        scores: dict[str, Score] = {}
        for schedule in self._config.eval.handoff:
            name = f"team/{schedule.label}"
            groups = self._write(name, self._prompts, unannealed_schedule(schedule), samples=self._config.eval.samples)
            of_schedule = self._correctness(groups)
            if "solo" in self._config.eval.measures:
                of_schedule |= texts.retentions(groups, self.solo, self._config.eval.pass_at)
            of_schedule |= {"senior_share": texts.senior_share(groups), "handoffs": texts.handoffs(groups)}
            scores |= {f"{name}/{key}": score for key, score in of_schedule.items()}
        return scores

    def _junior_scores(self) -> dict[str, Score]:
        scores = self._correctness(self.junior_alone)
        if self._config.eval.greedy:
            scores["greedy"] = texts.accuracy(self._write("junior_alone_greedy", self._prompts, JUNIOR_ALONE, temperature=0.0))
        return {f"junior_alone/{name}": score for name, score in scores.items()}

    def _correctness(self, groups: Sequence[Group]) -> dict[str, Score]:
        """Return accuracy and pass@k."""
        ks = [k for k in self._config.eval.pass_at if k > 1]
        return {"accuracy": texts.accuracy(groups)} | texts.passes(groups, ks)

    def _takeover_scores(self) -> dict[str, Score]:
        fractions = self._config.eval.prefixes
        scores = {f"takeover/{100 * fraction:g}%": texts.accuracy(self.takeover(fraction)) for fraction in fractions}
        return scores | {"takeover/100%": texts.accuracy(_first_texts(self.solo))}

    @property
    def _has_dialects(self) -> bool:
        return self._config.data.source == "arith"

    def _extended(self, prompt: Prompt, prefix: list[int]) -> Prompt:
        """Return `prompt` with the beginning of a solution, in each author's tokens."""
        text = self._authors.tokenizer.decode(prefix)
        junior_token_ids = {
            junior: (*prompt.junior_token_ids[junior], *tokenizer.encode(text, add_special_tokens=False))
            for junior, tokenizer in self._authors.junior_tokenizers.items()
        }
        return replace(prompt, token_ids=(*prompt.token_ids, *prefix), junior_token_ids=junior_token_ids)

    def _write(
        self,
        what: str,
        prompts: Sequence[Prompt],
        schedule: Schedule,
        *,
        samples: int = 1,
        prefixes: Sequence[list[int]] | None = None,
        temperature: float | None = None,
    ) -> list[Group]:
        """Return `samples` judged texts for each prompt, in order. Each prompt ends with its prefix, if there are prefixes.

        Raises `GuardError` when the texts fail a check, or when none could be judged.
        """
        sampling = self._config.eval.sampling
        if temperature is not None:
            sampling = replace(sampling, temperature=temperature)
        prefixes = prefixes or [[]] * len(prompts)
        tasks = [
            replace(
                self._pool.task(prompt, samples, schedule, _remaining(sampling, prefix), f"{self._tag}/{what}/{index}"),
                repeatable=True,
            )
            for index, (prompt, prefix) in enumerate(zip(prompts, prefixes, strict=True))
        ]
        with self._progress(what, len(tasks)) as advance:
            groups = self._pool.write_all(tasks, on_group=advance)
        guards.check_weight_version(groups, self._version)
        guards.check_authorship(groups, self._authors.boundaries)
        guards.check_finite_logprobs(groups)
        for group, prefix in zip(groups, prefixes, strict=True):
            for rollout in group.rollouts if prefix else []:
                rollout.text = self._authors.tokenizer.decode([*prefix, *rollout.token_ids], skip_special_tokens=True)
        self._judge.judge_groups(groups, self._config.judge.step_timeout_s)
        if warning := guards.check_verdicts(groups):
            self._print_line(f"{self._tag}, {what}: {warning}")
        self.texts[what] = groups
        return groups


def _first_texts(groups: Sequence[Group]) -> list[Group]:
    """Return the groups with their first text alone."""
    return [replace(group, rollouts=group.rollouts[:1], judgements=group.judgements[:1]) for group in groups]


def _remaining(sampling: SamplingConfig, prefix: Sequence[int]) -> SamplingConfig:
    """Return `sampling` with the budget that remains after `prefix`."""
    return replace(sampling, max_tokens=sampling.max_tokens - len(prefix))
