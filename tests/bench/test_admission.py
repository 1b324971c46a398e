"""The cases and figures of bench.admission, without engines."""

from __future__ import annotations

import pytest

from actors.admission import KVCache
from bench.admission import LONGEST, figures, lengths, reserved
from bench.engines import WritingTime


def test_lengths_have_a_third_of_the_longest_as_mean() -> None:
    drawn = lengths("real_lengths")
    assert max(drawn) == LONGEST and sum(drawn) / len(drawn) == pytest.approx(LONGEST / 3, rel=0.1)
    assert set(lengths("worst_case")) == {LONGEST}


def test_reserved_admission_stays_at_texts_of_full_length() -> None:
    admission = reserved(KVCache(blocks=36, block_tokens=128, longest=1042))
    for _ in range(100):
        admission.add_length(0.1)
    assert admission.most == 4


def test_figures_compare_need_with_reservation_by_clock_and_by_cpu_time() -> None:
    fast, slow = ([WritingTime(2, tokens, 9, 2.0, 0.5, 0.25, 0.25)] for tokens in (3000, 2000))
    found = figures({"real_lengths": {"need": fast, "reserved": slow}, "worst_case": {"need": slow, "reserved": slow}})
    assert (found["admission_over_reserved"], found["admission_over_reserved_cpu"]) == (1.5, 1.5)
    assert (found["admission_worst_case"], found["admission_worst_case_cpu"]) == (1.0, 1.0)
    assert (found["real_lengths_need_tokens_per_s"], found["worst_case_reserved_tokens_per_s"]) == (1500, 1000)
