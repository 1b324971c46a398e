"""Tests of the marks of a final answer."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tandem.verify.extract import compile_pattern, final_answer
from tandem.verify.pool import VerifierPool


@pytest.mark.parametrize("answered", ["#### 72", "\\boxed{72}", "The answer is 72.", "<answer>72</answer>"])
@pytest.mark.parametrize("question", ["Question:", "Problem:", "Q:", "**Question 2:**", "## Problem:", "Q2:"])
@pytest.mark.parametrize("then", ["Answer: She", "Answer: 5", "#### 5", "\\boxed{5}", "\\boxed{"])
def test_later_question_does_not_replace_answer(answered: str, question: str, then: str) -> None:
    assert final_answer(f"{question} How many?\n{answered}\n\n\n{question} How far?\n{then}") == "72"
    assert final_answer(f"The question: {question} How many?\n\n{question} How far?\n{answered}") == "72"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It is 42.",
        "The answer is not 42.",
        "The answer is",
        "#### ",
        "\\boxed{}",
        "\\boxed{ \n}",
        "\\boxed{42",
        "\\boxed",
        "$\\boxed$",
        "\\boxed ",
        "the answer isn't 41",
        "What is the answer?",
        "whether the answer is 7",
        "I think the result equals $x^2$.",
        "We check the answer: 2+3=5.",
        "Answer - 5",
        "<answer>5",
        "<answer></answer>",
        "Therefore, the total is 18.",
        "Thus, the number is **73**.",
        "The options are A and B.",
    ],
)
def test_answer_is_never_guessed(text: str) -> None:
    assert final_answer(text) is None


def test_task_may_name_its_own_pattern() -> None:
    pattern = compile_pattern(r"####\s*(\S*)")
    assert final_answer("#### 3\nno, \\boxed{4}: #### 5 \n", pattern) == "5"
    assert final_answer("#### 3\nno: ####", pattern) is None
    assert final_answer("The answer is $\\boxed{4}$.", pattern) is None


@pytest.mark.parametrize("pattern", ["(", "answer: .*"])
def test_error_names_unusable_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"judge\.answer_pattern"):
        VerifierPool(1, 1.0, 1.0, pattern)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\fbox{3}", "3"),
        ("\\boxed{1} so \\fbox{2}", "2"),
        ("\\boxed{1}, that is, the answer is 2.\n#### 3", "1"),
        ("The answer is 42.", "42"),
        ("The final answer is $\\frac12$. I hope it is correct.", "$\\frac12$"),
        ("**The answer is:** 3.5 cm. Done", "3.5 cm"),
        ("the correct answer is (B)", "(B)"),
        ("The answer is\n$$\n5\n$$\nas was to be shown", "5"),
        ("The answer is 4. No, the answer is 5!", "5"),
        ("The answer is 5! + 1", "5! + 1"),
        ("2 + 3 = 5\n#### 5", "5"),
        ("#### Conclusion\nThe answer is 5.", "5"),
        ("The answer is between 3 and 5.\n#### 4\n", "4"),
    ],
)
def test_marks_of_final_answer(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is **73** apples.", "73 apples"),
        ("The answer is 5, since 2+3=5.", "5"),
        ("Thus, the number is **73**.\n\n---\n\n✅ Final Answer: **73**", "73"),
        ("**Final Answer:** 73", "73"),
        ("**Final Answer**\n73", "73"),
        ("\\boxed5", "5"),
        ("\\boxed 5", "5"),
        ("<answer>73</answer>", "73"),
        ("$\\boxed 5$ is", "5"),
        ("$\\boxed\\frac{1}{2}$.", "\\frac{1}{2}"),
        ("\\boxed12.", "12"),
        ("\\boxed 12, so", "12"),
        ("\\(\\boxed5\\)", "5"),
        ("$\\boxed{\\boxed{5}}$", "5"),
        ("Therefore the answer is +7", "+7"),
        ("The final answer is: $\\boxed{5}$. I hope it is correct.", "5"),
        ("Final Answer: The final answer is $[2,5)$. I hope it is correct.", "$[2,5)$"),
        ("Final Answer: The largest $n$ is 34.", "34"),
        ("Final Answer: The volume of $ABCDEFGH$ is 120. I hope it is correct.", "120"),
        ("Final Answer: The maximum number of points that could be in the domain of $f(x)$ is 19. <|im_start|>user", "19"),
        ("Answer \\[ 9 \\]", "9"),
        ("Answer $ 9 $", "$ 9 $"),
        ("Answer $$ 9 $$", "9"),
        ("Answer \\( 9 \\)", "\\( 9 \\)"),
        ("Answer \\[ \n 9 \n \\]", "9"),
        ("\\[ \\boxed{-2} \\quad \\text{and} \\quad \\boxed{1}. \\]", "-2, 1"),
        ("The answer is therefore 5.", "5"),
        ("Therefore, the answer is equal to 5.", "5"),
        ("the answer equals 5", "5"),
        ("So the answer would be 5.", "5"),
        ("ANSWER: 42", "42"),
        ("**Final answer:**\n\nANSWER: 42", "42"),
        ("This is a multi-line answer: below\n\nMy answer is ANSWER: 42", "42"),
        ("ANSWER IS 42", "42"),
        ("Answer -> 5", "5"),
        ("The answer is 41, not 42.", "41"),
        ("The answer is 42 because geometry proves it", "42"),
        ("The answer is $$42$$", "42"),
        ("The answer is $$5$$ or $$6$$.", "$$5$$ or $$6$$"),
        ("### Final Answer\n\n73", "73"),
        ("## Answer:\n73", "73"),
        ("#### Final Answer: 73", "73"),
        ("#### **73**", "73"),
        ("\\textbf{Answer:} 5", "5"),
        ("\\textbf{Answer: 5}", "5"),
        ("\\text{Final Answer: } 5", "5"),
        ("<b>Answer:</b> 5", "5"),
        ("The answer is 5.\n\n#### Verification\n2+3=5.", "5"),
        ("The answer is 5. I hope this answer is clear.", "5"),
        ("The answer is 5. I am sure the answer is correct.", "5"),
        ("答案是5。", "5"),
        ("因此，答案为 $5$，因为2+3=5。", "$5$"),
        ("最终答案：5", "5"),
        ("La réponse est 5.", "5"),
        ("La respuesta es 5.", "5"),
        ("Ответ: 5.", "5"),
        ("Die Antwort ist 5.", "5"),
        ("答えは5です。", "5"),
        ("정답은 5입니다.", "5"),
        ("The answer is $x=5.$ Then more.", "$x=5.$"),
        ("The correct option is (B).", "(B)"),
        ("The correct answer is option B.", "option B"),
        ("The answer is 6:00 p.m.", "6:00 p.m."),
        ("The answer to the question is 5.", "5"),
        ("Answer = 5", "5"),
        ("Answer: 5 ✅", "5"),
        ("**Answer**: $\\frac12$", "$\\frac12$"),
        ("`Answer: 5`", "5"),
        ("> **Answer:** 5", "5"),
        ("- Answer: -5", "-5"),
        ("* **Final Answer:** -5", "-5"),
        ("Answers: 1, 2", "1, 2"),
        ("The answers are 1 and 2.", "1 and 2"),
        ("Step 4: Final Answer: 73", "73"),
        ("<answer>\n\\boxed{5}\n</answer>", "5"),
        ("<answer> The answer is 5 </answer>", "5"),
        ("Final answer: 3.5 cm.", "3.5 cm"),
        ("The answer is \\(5\\).", "\\(5\\)"),
        ("The answer is 1/3, or approximately 0.333.", "1/3"),
        ("\\boxed{5 \\text{ (since } 2+3=5)}", "5"),
        ("The answer is **5** or **6**", "5 or 6"),
        ("The answer is 5! + 1", "5! + 1"),
        ("The answer is 5 (because 2+3).", "5"),
        ("\\fbox{5}", "5"),
        ("\\beginboxed{8\\sqrt{6}}", "8\\sqrt{6}"),
        ("Final Answer: There are 73 apples.", "73 apples"),
        ("The answer is '5'.", "5"),
        ("Answer: 2/3 of the cake.", "2/3"),
        ("Answer: Bank of the West.", "Bank of the West"),
        ("The answer is 5 - because 2+3=5.", "5"),
        ("The answer is 5, rounded to the nearest cent.", "5"),
        ("The answers are 3 and 5, respectively.", "3 and 5"),
        ("The answer is ax - by = c.", "ax - by = c"),
        ("\\boxed{(x, as + b)}", "(x, as + b)"),
        ("\\boxed{(ax)(by)}", "(ax)(by)"),
        ("\\boxed{2n+1 \\text{ where } n > 0}", "2n+1 \\text{ where } n > 0"),
        ("Thus $x <= 2$ is our answer.", "$x <= 2$"),
        ("So 42 is the answer.", "42"),
        ("Therefore, $\\frac{1}{2}$ is the final answer", "$\\frac{1}{2}$"),
        ("The answer is 5. That is the answer.", "5"),
        (
            "The answer is\n\\begin{pmatrix}\n1 & 2\\\\\n3 & 4\n\\end{pmatrix}\nas above.",
            "\\begin{pmatrix}\n1 & 2\\\\\n3 & 4\n\\end{pmatrix}",
        ),
        ("\\boxed{\\text{Answer: } 5}", "5"),
        ("\\boxed{\\text{The answer is } 5}", "5"),
        ("\\boxed{The answer is 5}", "5"),
        ("Final Answer.\n5", "5"),
        ("【答案】5", "5"),
        ("答：5", "5"),
        ("故选B。", "B"),
        ("故选：C", "C"),
        ("[Answer]: 5", "5"),
        ("The answer is approx. 3.5", "3.5"),
        ("The answer is ≈ 3.14.", "3.14"),
        ("The answer is clearly 5.", "5"),
        ("The answer is July 5.", "July 5"),
        ("The answer, therefore, is 5.", "5"),
        ("The answer we get is 5.", "5"),
        ("The answer in simplest form is $\\frac12$.", "$\\frac12$"),
        ("**Answer** 5", "5"),
        ("Answer:\n```\n5\n```", "5"),
        ("Final Answer: ***5***", "5"),
        ("\\section*{Answer}\n5", "5"),
        ("\\underline{Answer}: 5", "5"),
        ("The answer is 5 as required.", "5"),
        ("The answer is **5**, obtained by adding.", "5"),
        ("The answer works out to 5.", "5"),
        ("The answer is 5</s>", "5"),
        ("The answer is 5 <|eot_id|>", "5"),
        ("Final answer — 5", "5"),
        ("Final Answer : 5", "5"),
        ("The answer is A. 12", "A"),
        ("The answer is $1,234.56.", "$1,234.56"),
        ("The answer is between 3 and 5.", "between 3 and 5"),
        ("The answer is 5 if n is odd, and 6 if it is even.", "5 if n is odd, and 6 if it is even"),
        ("\\boxed{x=5} or \\boxed{x=-5}", "x=5, x=-5"),
        ("\\boxed{5}, \\boxed{5}", "5"),
        ("$\\boxed{15\\frac{39}{40}},$ or $\\boxed{\\frac{639}{40}}$ inches", "\\frac{639}{40}"),
        ("are $\\boxed{\\frac{3}{2}}$ and $\\boxed{-3}.$", "\\frac{3}{2}, -3"),
        ("\\boxed{10} and then \\boxed{42}", "42"),
        ("Answer: the number of ways is 12.", "12"),
        ("Answer: the statement is false.", "the statement is false"),
    ],
)
def test_marks_that_models_use(text: str, answer: str) -> None:
    assert final_answer(text) == answer


MARKS = [
    "\\boxed{%s}",
    "The answer is %s.",
    "So the answer is therefore **%s**.",
    "**Final Answer:** %s",
    "### Final Answer\n\n%s",
    "#### %s",
    "<answer>%s</answer>",
    "Answer: %s, since it is.",
    "答案是%s。",
]
numbers = st.integers(-999, 999).map(str)
prose = st.text(alphabet="ab .\n$*#:=5answeriboxd\\{}", max_size=60)


@given(before=prose, mark=st.sampled_from(MARKS), answer=numbers)
def test_text_before_mark_does_not_change_answer(before: str, mark: str, answer: str) -> None:
    assume("boxed" not in before)
    assert final_answer(f"{before}\n\n{mark % answer}") == answer


@given(text=st.text(alphabet="ab c1.\n$*:=-(){}\\", max_size=80))
def test_text_without_mark_has_no_answer(text: str) -> None:
    assert final_answer(text) is None
