"""A run folder as pandas frames, and its rollouts as HTML for a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tandem.records.json_files import LogReader
from tandem.records.run_record import (
    CONFIG,
    EVALUATED_PROBLEMS,
    EVALUATED_TEXTS,
    METRICS,
    SAMPLES,
    SAVED_ROLLOUTS,
    check_run,
    saved_settings,
)
from tandem.records.saved_rollouts import load_step
from tandem.records.step_folders import step_folders
from tandem.records.transcript import AUTHOR_COLORS

if TYPE_CHECKING:
    import pandas as pd


class LoadedRun:
    """A finished or unfinished run. Each frame is read when it is first used. Raises `ConfigError` if `path` is no run."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        check_run(self.path)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return saved_settings(self.path / CONFIG)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """A row for each step, indexed by `step`; a metric that a step does not have, or that is not finite, is NaN."""
        frame = _frame(self._rows(METRICS))
        if "step" not in frame:  # there is no step yet
            frame["step"] = []
        return frame.drop_duplicates("step", keep="last").set_index("step").astype(float)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """A row for each saved rollout, with the fields of samples.jsonl."""
        return _frame(self._rows(SAMPLES))

    @cached_property
    def rollouts(self) -> pd.DataFrame:
        """A row for each rollout of a run with `log.rollouts`: `step`, `problem`, `id`, `tokens`, `verdict`, `end`, `junior`,
        `text`, `reward` and `advantage`. Raises `UnreadableRollouts` for rollouts in another version of the format.
        """
        return _frame(row for step, saved in step_folders(self.path / SAVED_ROLLOUTS).items() for row in _rollouts(step, saved))

    @cached_property
    def tokens(self) -> pd.DataFrame:
        """A row for each token of the saved rollouts: `step`, `id`, `position`, `author`, `token`, `token_id`, `logprob`."""
        return _frame(
            {"step": sample["step"], "id": sample["id"], "position": position, **token}
            for sample in self._rows(SAMPLES)
            for position, token in enumerate(_tokens(sample))
        )

    @cached_property
    def problems(self) -> pd.DataFrame:
        """A row for each problem of each evaluation during training, with a column for each measure."""
        return _frame(
            {
                "step": row["step"],
                "id": row["id"],
                **{name: total / weight if weight else None for name, (total, weight) in row["scores"].items()},
            }
            for row in self._rows(EVALUATED_PROBLEMS)
        )

    @cached_property
    def texts(self) -> pd.DataFrame:
        """A row for each text of each evaluation during training."""
        return _frame(self._rows(EVALUATED_TEXTS))

    def transcript(self, row: int) -> TranscriptView:
        """Return the rollout in a row of `samples`, which a notebook shows with its authors in colors."""
        return TranscriptView(self.samples.iloc[row].to_dict())

    def _rows(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the complete lines of a file; none if there is no such file."""
        yield from LogReader(self.path / name).new()

    def __repr__(self) -> str:
        return f"LoadedRun({str(self.path)!r})"


class TranscriptView:
    """One rollout: `str` gives its text, a notebook shows it in colors."""

    def __init__(self, sample: dict[str, Any]) -> None:
        self.sample = sample

    def __str__(self) -> str:
        return "".join(turn["text"] for turn in self.sample["turns"])

    def _repr_html_(self) -> str:
        """Return the question and the text; what models wrote is escaped."""
        sample = self.sample
        head = f"step {sample['step']}, {sample['verdict']}, reward {sample['reward']:g}"
        words = "".join(
            f'<span title="{turn["author"]}" style="color:{AUTHOR_COLORS[turn["author"]]}">{escape(turn["text"])}</span>'
            for turn in sample["turns"]
        )
        legend = " ".join(f'<b style="color:{color}">{author}</b>' for author, color in AUTHOR_COLORS.items())
        return (
            f"<div><p>{escape(head)} &nbsp; {legend}</p><p><i>{escape(sample['question'])}</i></p>"
            f'<pre style="white-space:pre-wrap">{words}</pre></div>'
        )


def _rollouts(step: int, saved: Path) -> Iterator[dict[str, Any]]:
    """Yield the rollouts of `step`, which is saved in `saved`."""
    for group in load_step(saved):
        columns = (group.rollouts, group.verdicts, group.rewards, group.advantages)
        for rollout, verdict, reward, advantage in zip(*columns, strict=True):
            yield {
                "step": step,
                "problem": group.prompt.problem.id,
                "id": rollout.id,
                "tokens": len(rollout),
                "end": rollout.end.value,
                "junior": rollout.junior,
                "text": rollout.text,
                "verdict": verdict.value,
                "reward": float(reward),
                "advantage": float(advantage),
            }


def _tokens(sample: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the tokens of a rollout, each with its author."""
    for turn in sample["turns"]:
        for token, token_id, logprob in zip(turn["tokens"], turn["token_ids"], turn["logprobs"], strict=True):
            yield {"author": turn["author"], "token": token, "token_id": token_id, "logprob": logprob}


def _frame(rows: Iterator[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd  # takes a second

    return pd.DataFrame.from_records(list(rows))
