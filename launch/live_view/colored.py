"""Transcripts in a terminal, each author in a color."""

from __future__ import annotations

from rich.text import Text

from tandem.records.transcript import Transcript

STYLES = {"senior": "underline dodger_blue1", "junior": "dark_orange"}
"""They also differ where there are no colors."""
GOOD, BAD = "green", "dark_orange"


def colored_transcript(sample: Transcript, *, marks: bool) -> Text:
    """Return a rollout with its title; with `marks` the junior's words stand in braces, for where there are no styles."""
    return Text.assemble(sample_title(sample), "\n", _question(sample), _turns(sample, marks=marks), "\n")


def sample_title(sample: Transcript) -> Text:
    """Return the step, problem, verdict, reward and advantage of a rollout."""
    title = Text(f"step {sample['step']}, {visible(sample['problem'])}  ")
    title.append(sample["verdict"], GOOD if sample["verdict"] == "correct" else BAD)
    title.append(f"  reward {sample['reward']:g}")
    if "advantage" in sample:
        title.append(f"  advantage {sample['advantage']:+.2f}")
    return title


def colored(sample: Transcript) -> Text:
    """Return a rollout's question, and its text with a style for each author."""
    legend = Text.assemble(("senior", STYLES["senior"]), " ", ("junior", STYLES["junior"]), "\n\n")
    return Text.assemble(_question(sample), legend, _turns(sample))


def _question(sample: Transcript) -> Text:
    return Text(visible(sample["question"]) + "\n", style="dim")


def _turns(sample: Transcript, *, marks: bool = False) -> Text:
    """Return the text with a style for each author, and with `marks` the junior's words in braces."""
    text = Text()
    for turn in sample["turns"]:
        words = visible(turn["text"])
        text.append(f"{{{words}}}" if marks and turn["author"] == "junior" else words, STYLES[turn["author"]])
    return text


def visible(text: str) -> str:
    """Return `text` with unprintable characters spelled out: models may write a terminal's escape sequences."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
