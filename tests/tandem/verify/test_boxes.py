"""Tests of final answers in boxes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.verify.extract import compile_pattern, final_answer


def boxed(answer: str) -> str:
    return f"The answer is $\\boxed{{{answer}}}$."


unboxed = st.text(alphabet="ab1 +^_{}$\\\n", max_size=20)
content = st.recursive(
    st.one_of(st.text(alphabet="xy12 +^_,.", max_size=6), st.sampled_from(["\\{", "\\}", "\\\\", "\\pi "])),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        inner.map(lambda text: f"{{{text}}}"),
        st.tuples(inner, inner).map(lambda pair: f"\\frac{{{pair[0]}}}{{{pair[1]}}}"),
    ),
    max_leaves=12,
)


filled = content.filter(lambda text: text.strip(" ._"))


@given(before=st.lists(st.one_of(unboxed, content.map(boxed), st.just("\\boxed{")), max_size=3), content=filled, after=unboxed)
def test_answer_is_last_box_with_its_braces_balanced(before: list[str], content: str, after: str) -> None:
    assert final_answer("".join(before) + f"\\boxed{{{content}}}" + after) == content.strip()


@given(
    answer=filled,
    box=st.sampled_from(["\\boxed{}", "\\boxed{ }", "\\boxed{...}", "\\boxed{\\ldots}", "\\fbox{…}", "\\boxed{__}"]),
)
def test_empty_box_does_not_hide_answer_before_it(answer: str, box: str) -> None:
    assert final_answer(f"\\boxed{{{answer}}} (Put your final answer within {box}.)") == answer.strip()
    assert final_answer(f"(Put your final answer within {box}.)") is None


@given(before=unboxed, content=content)
def test_unclosed_last_box_has_no_answer(before: str, content: str) -> None:
    assert final_answer(before + boxed("7") + "\\boxed{" + content) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 5.\n#### 6", None),
        ("so \\boxed{4}. The answer is 5.", "4"),
        ("\\boxed{3} ... (Put your final answer inside \\boxed{})", "3"),
        ("<think>\\boxed{3}</think> The answer is 4", None),
    ],
)
def test_boxes_alone_may_count(text: str, answer: str | None) -> None:
    assert final_answer(text, compile_pattern("boxed")) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{5 \text{ or } \boxed{6}}", r"5 \text{ or } \boxed{6}"),
        (r"\boxed{\boxed{5} \text{ or } 6}", r"\boxed{5} \text{ or } 6"),
        (r"\boxed{\boxed{6}}", "6"),
        (r"\boxed{x = \boxed{6}}", "6"),
        (r"\boxed{\text{Answer: }\boxed{6}}", "6"),
        (r"\boxed{5 so \boxed{6}", "6"),
        (r"\boxed{\text{The value of the original expression is }\boxed{5}}", r"5"),
        (r"\boxed{\text{Tom and Ann have } \boxed{7}\text{ apples}}", r"7"),
        (r"\boxed{1,000 + 500 = \boxed{1500}}", r"1500"),
        (r"\boxed{x=2, y=3, x+y = \boxed{5}}", r"5"),
        (r"\boxed{\text{Thus, }\boxed{5}}", r"5"),
        (r"\boxed{f(2,3) = \boxed{7}}", r"7"),
        (r"\boxed{(a,b)=\boxed{(1,2)}}", r"(1,2)"),
        (r"\boxed{Step 1: 2+3=5, Step 2: \boxed{10}}", r"10"),
        (r"\boxed{\boxed{12} \text{ for all } n}", r"12"),
        (r"\boxed{\text{In 5 days, }\boxed{7}}", r"7"),
        (r"\boxed{\text{Therefore}, \boxed{7}}", r"7"),
        (r"\boxed{5 \text{ cm or } \boxed{6}\text{ cm}}", r"5 \text{ cm or } \boxed{6}\text{ cm}"),
        (r"\boxed{\boxed{5}\text{ cm or } 6\text{ cm}}", r"\boxed{5}\text{ cm or } 6\text{ cm}"),
        (r"\boxed{\boxed{7}\text{, a prime}}", "7"),
        (r"\boxed{\boxed{5}, 6}", r"\boxed{5}, 6"),
        (r"\boxed{\frac{1}{2}, \boxed{3}}", r"\frac{1}{2}, \boxed{3}"),
        (r"\boxed{\boxed{5} \text{ or } \boxed{6}}", r"\boxed{5} \text{ or } \boxed{6}"),
        (r"\boxed{a=\boxed{5},\ b=\boxed{6}}", r"a=\boxed{5},\ b=\boxed{6}"),
        (r"\boxed{\pi \lor \boxed{6}}", r"\pi \lor \boxed{6}"),
        (r"\boxed{\text{Step 1: }\boxed{5}\text{, Step 2: }\boxed{6}}", r"6"),
        (r"\boxed{a, \boxed{b}}", r"a, \boxed{b}"),
        (r"\boxed{5, \text{ or } \boxed{6}}", r"5, \text{ or } \boxed{6}"),
        (r"\boxed{5, and \boxed{6}}", r"5, and \boxed{6}"),
        (r"\boxed{5}, \boxed{6}", r"5, 6"),
        (r"\boxed{5} \text{and} \boxed{6}", r"5, 6"),
        (r"\boxed{5} \lor \boxed{6}", r"5, 6"),
        (r"\boxed{x=\boxed{5}, \text{ where } n=3}", r"5"),
        (r"\boxed{\boxed{5}\text{, and we are done}}", r"5"),
        (r"\boxed{\text{either 5 or }\boxed{6}}", r"\text{either 5 or }\boxed{6}"),
        (r"\boxed{\boxed{5}\text{ or }-6}", r"\boxed{5}\text{ or }-6"),
    ],
)
def test_box_within_box_hides_no_value(text: str, answer: str) -> None:
    assert final_answer(text) == answer


numbers = st.integers(-99, 99)
INTRODUCTIONS = [r"\text{For all sums, the result is }", r"x=2, y=3, x+y = ", r"\text{Thus, }", "f(2,3) = ", "1,000 or so = "]


@given(
    value=numbers,
    before=st.sampled_from(INTRODUCTIONS),
    after=st.sampled_from(["", r" \text{ for all } n", r"\text{ pears, too}"]),
)
def test_box_within_box_counts_after_introduction(value: int, before: str, after: str) -> None:
    assert final_answer(rf"\boxed{{{before}\boxed{{{value}}}{after}}}") == str(value)


@given(values=st.lists(numbers, min_size=1, max_size=3), joint=st.sampled_from([", ", r" \text{ or } ", " and "]), last=numbers)
def test_outer_box_counts_if_it_joins_values(values: list[int], joint: str, last: int) -> None:
    contents = joint.join([*map(str, values), boxed(str(last))[len("The answer is $") : -2]])
    assert final_answer(rf"So \boxed{{{contents}}}.") == contents
    assert final_answer(rf"First \boxed{{0}}. So \boxed{{{contents}}}.") == contents
