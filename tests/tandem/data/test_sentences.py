"""Tests of the instructions to write a sentence: the problems, and the verifier that judges whether a sentence keeps them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.config.data import DataConfig
from tandem.data.problems import load_problems
from tandem.data.sentences import NOUNS, REQUIRED, draw
from tandem.verify.judgement import Verdict
from tandem.verify.sentences import LEAST_WORDS, MOST_WORDS, gold, score

FILLERS = ("the", "An", "old", "quickly", "near", "Tom's", "well-known", "saw", "and")
required = st.lists(st.sampled_from(NOUNS), min_size=REQUIRED, max_size=REQUIRED, unique=True)
endings = st.sampled_from([".", "!", "?", "...", '."', ".)"])


@st.composite
def kept(draw_from: st.DrawFn) -> tuple[list[str], list[str]]:
    """Draw required words, and the words of a sentence that contains them in their order."""
    nouns = draw_from(required)
    fillers = st.sampled_from(FILLERS)
    words = draw_from(st.lists(fillers, min_size=LEAST_WORDS - REQUIRED, max_size=MOST_WORDS - REQUIRED))
    for place, noun in zip(
        sorted(draw_from(st.tuples(*[st.integers(0, len(words))] * REQUIRED)))[::-1], nouns[::-1], strict=True
    ):
        words.insert(place, noun)
    return nouns, words


@given(st.integers())
def test_question_names_required_words_in_their_order(seed: int) -> None:
    problem = draw(Random(seed))
    words = problem.answer.split()
    places = [problem.question.index(f" {word}") for word in words]
    assert len(set(words)) == REQUIRED and places == sorted(places)
    assert problem.id == f"sentences/{'-'.join(words)}"


def test_training_excludes_held_out_instructions() -> None:
    problems = load_problems(DataConfig(source="sentences", held_out_fraction=0.5), 1)
    held_out = {problem.id for problem in problems.held_out(100)}
    assert len(held_out) == 100
    assert not held_out & {problem.id for problem in problems.train.batch(0, 400)}


@given(kept(), endings, st.sampled_from([str.lower, str.upper, str.capitalize]))
def test_kept_instruction_is_correct(case: tuple[list[str], list[str]], ending: str, spelling: Callable[[str], str]) -> None:
    nouns, words = case
    response = spelling(" ".join(words)) + ending
    assert score(gold(nouns), f"  {response}\n").verdict is Verdict.CORRECT


@given(kept(), st.integers(0, REQUIRED - 1))
def test_missing_or_inflected_or_misplaced_word_is_wrong(case: tuple[list[str], list[str]], place: int) -> None:
    nouns, words = case
    swapped = [nouns[(place + 1) % REQUIRED], nouns[place]]
    exchanged = [{nouns[place]: swapped[0], swapped[0]: nouns[place]}.get(word, word) for word in words]
    for other in ("thing", f"{nouns[place]}ly", f"{nouns[place]}-like", f"{nouns[place]}'s"):
        assert score(gold(nouns), " ".join(other if word == nouns[place] else word for word in words) + ".").score == 0
    assert score(gold(nouns), " ".join(exchanged) + ".").verdict is Verdict.WRONG


@given(required, st.integers(0, 40))
def test_length_decides(nouns: list[str], fillers: int) -> None:
    verdict = score(gold(nouns), " ".join([*nouns, *["so"] * fillers]) + ".").verdict
    assert (verdict is Verdict.CORRECT) == (LEAST_WORDS <= fillers + REQUIRED <= MOST_WORDS)


@pytest.mark.parametrize(
    "response",
    [
        "",
        "The dog saw the moon above the river on a night without",  # cut off
        "The dog saw the moon. It stood above the river that night.",
        "The dog saw the moon\nabove the river on a very dark night.",
        "1. The dog saw the moon above the river on a dark night.",
    ],
)
def test_other_than_one_sentence_is_unparsable(response: str) -> None:
    assert score("dog moon river", response).verdict is Verdict.UNPARSABLE


def test_sentence_is_the_extracted_answer() -> None:
    sentence = "The dog saw 3.5 moons, the moon above the river, and a star."
    judged = score("dog moon river", sentence)
    assert (judged.verdict, judged.extracted) == (Verdict.CORRECT, sentence)
