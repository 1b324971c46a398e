r"""Answers without mathematics: the letter of a choice, words, dates and times of day.

All texts are canonical (`tandem.verify.spelling`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TEXT = re.compile(r"\\text\s?\{([^{}]*)\}")
_CHOICE = re.compile(
    r"(?:(?:the )?(?:correct )?(?:option|choice|answer)(?: is)?:?\s?)?"
    r"(?:\(\s?(?P<round>[A-J])\s?\)|(?P<bare>[A-J])(?P<mark>\)|[.:](?=\s|\Z))?)(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_FACTORS = re.compile(r"(?!no(?![a-z]))[a-z]{1,2}(?![a-z])", re.IGNORECASE)
"""Factors after a letter in parentheses, which make it a product."""
_AND_OR = re.compile(r"(?:and|or)(?![a-z])|\\l(?:and|or)(?![a-z])|/", re.IGNORECASE)
_ANOTHER_CHOICE = re.compile(
    r"(?<![\w\\)}])\(\s?[A-J]\s?\)|(?:^|[,;/]|\b(?:and|or)\b)\s?(?:(?:option|choice)\s)?[A-J](?:\s?\)|[.:](?=\s|\Z))"
    r"|(?<!\b[A-J]\s)\bor\s(?:(?:option|choice)\s)?[A-J]\Z",
    re.IGNORECASE,
)
"""The mark of a second choice."""
_OTHER_CHOICES = re.compile(r"(?:both|neither|either|all|none|only)\b", re.IGNORECASE)
"""The beginning of the text of a choice that names other choices, as in "(D) Both (A) and (B)"."""
_FACTOR = re.compile(r"[-+^_=*/!',;]|\(|\\(?:cdot|times|cup|cap|pm)(?![a-z])")
"""A sign after a letter in parentheses that makes it a variable, not the letter of a choice."""
_SIGNED = re.compile(r"[-+](?=[\d.\\A-Za-z(])|\\pm(?![a-z])|\((?=[^()]*,)")
"""The beginning of the text of a choice that may also be a term or a factor."""
_LETTER_IN_TEXT = re.compile(r"\\text\s?\{[^{}]*\(\s?[A-J]\s?\)\s?\}", re.IGNORECASE)
_NAMED_CHOICE = re.compile(r"(?:the )?(?:correct )?(?:option|choice|answer)", re.IGNORECASE)
_LETTER = r"(?:\(\s?[A-F]\s?\)|[A-F](?:[).](?=[\s,;]|\Z))?)"
_SEVERAL_LETTERS = re.compile(
    r"(?:(?i:both|(?:the )?(?:correct )?(?:options|choices|answers)(?: are)?:?)\s)?"
    rf"(?P<letters>{_LETTER}(?:(?:\s?[,;]\s?(?:(?:and|or)\s)?|\s?(?:\\land|and|or)(?![a-z])\s?|(?<=\))\s?(?=\()){_LETTER})+)"
)
"""The letters of several choices, with something between them."""
_ROW = re.compile(r"(?=[A-F]{2})A?B?C?D?E?F?")
"""Letters in the order of the alphabet, without repetition."""
_WORD = r"[^\W\d_]+(?:['’][^\W\d_]+|-[^\W\d_]{2,})*"
_WORDS = re.compile(rf"{_WORD}(?: {_WORD})*")
_CAPITAL = re.compile("[A-Z]")
_CAPITALS = re.compile(r"[A-Z](?: ?[A-Z]){2,}")
"""Names of points or an order of things, not a product."""
_JOINED = re.compile(r"\b(?:and|or)\b", re.IGNORECASE)
_ARTICLE = re.compile(r"(?:an?|the|on) (?=\w{2})", re.IGNORECASE)
_NAMES_LETTERS = 4
"""Shorter words may be products of variables."""
_ANSWERS = {"yes": True, "no": False, "true": True, "false": False}
_BEGINS = re.compile(r"(yes|no|true|false)(?P<rest>\s?[,.;:!-].*)?", re.IGNORECASE | re.DOTALL)
_OPPOSITE = re.compile(r"(?<!not )(?<!n't )\b(yes|no|true|false)(?=\s?(?:[.,;:!?)]|\Z))", re.IGNORECASE)
"""One of these words at the end of a clause, where it is an answer and not the beginning of a phrase, as in "no others"."""
_MONTHS = "january february march april may june july august september october november december"
_MONTH = rf"(?P<month>{'|'.join(f'{month[:3]}(?:{month[3:]})?' for month in _MONTHS.split())}|sept)\.?"
_DAY = r"(?P<day>\d{1,2})\s?(?:\^?\{?(?:st|nd|rd|th)\}?)?"
_DATE = re.compile(
    rf"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,? )?(?:(?:the )?{_DAY}(?: of)? {_MONTH}"
    rf"|{_MONTH.replace('month', 'month_')} (?:the )?{_DAY.replace('day', 'day_')})(?:,? (?P<year>\d{{4}}))?",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"(?P<hour>\d{1,2})(?::(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?)?\s?(?P<half>[ap]\.?\s?m\.?|noon|midnight)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Choice:
    """The letter of a choice and its text, or "" without text."""

    letter: str
    rest: str


def read_choice(text: str, leniently: bool = False) -> Choice | None:
    """Return the choice that `text` names, such as B for (B), \\text{B}, Option B, B. 7 or (B) 7; `leniently` reads b too."""
    flat = flattened(text)
    match = _CHOICE.fullmatch(flat)
    if not match:
        return None
    letter, rest = match["round"] or match["bare"], match["rest"].strip()
    if rest and not (match["round"] or match["mark"]):
        return None
    if match["round"] and not match["rest"].startswith(" ") and _FACTORS.match(rest):
        return None
    if _AND_OR.match(rest) or (_ANOTHER_CHOICE.search(rest) and not _OTHER_CHOICES.match(rest)):
        return None
    if match["round"] and _FACTOR.match(rest):
        apart = match["rest"].startswith(" ") or _LETTER_IN_TEXT.match(text)
        if not (apart and _SIGNED.match(rest)):
            return None
    plain = leniently or match["round"] or _NAMED_CHOICE.match(flat)
    if not letter.isupper() and (rest or not plain):
        return None
    return Choice(letter.upper(), _rest(text, rest))


def same_choices(gold: str, answer: str) -> bool | None:
    """Return whether two texts name the same several choices, as AC and (A), (C); None if they are not such texts.

    A row of letters may also be an order of things, so a list must have the order of the gold's row. A list equals a row in
    the order of the alphabet. "A or C" names neither.
    """
    one, other = (flattened(text.removeprefix("\\{").removesuffix("\\}")) for text in (gold, answer))
    golds, answers = map(_SEVERAL_LETTERS.fullmatch, (one, other))
    if answers and _ROW.fullmatch(one):
        return "or" not in answers["letters"] and _CAPITAL.findall(answers["letters"]) == list(one)
    if golds and _ROW.fullmatch(other):
        return "or" not in golds["letters"] and sorted(_CAPITAL.findall(golds["letters"])) == list(other)
    if golds and answers and "or" not in golds["letters"]:
        letters = [sorted(_CAPITAL.findall(side["letters"])) for side in (golds, answers)]
        return "or" not in answers["letters"] and letters[0] == letters[1]
    return None


def _rest(text: str, rest: str) -> str:
    """Return `rest` as spelled in `text`, with its `\\text{...}`, if it can be found there."""
    place = text.find(")")
    spelled = text[place + 1 :].lstrip("} ").removeprefix("\\text{}").strip() if place >= 0 else rest
    return spelled if flattened(spelled) == rest else rest


def flattened(text: str) -> str:
    """Return `text` without `\\text{...}` around its parts."""
    return " ".join(_TEXT.sub(r" \1 ", text).split())


def same_words(gold: str, answer: str) -> bool | None:
    """Return whether two answers in words are equal, or None if they are not both words.

    Case, articles and the text after "Yes," or "No," do not count. A row of capitals has an order: ABC is not CAB.
    """
    golds, answers = flattened(gold), flattened(answer)
    wrapped = golds != gold or answers != answer
    if golds.lower() in _ANSWERS and (begins := _BEGINS.fullmatch(answers)):
        return golds.lower() == begins[1].lower() and not _takes_back(begins[1], begins["rest"] or "")
    if _CAPITALS.fullmatch(golds) and _CAPITALS.fullmatch(answers) and not wrapped:
        return golds.replace(" ", "") == answers.replace(" ", "")
    if not (_WORDS.fullmatch(golds) and _WORDS.fullmatch(answers)):
        return None
    if not wrapped and not (len(golds) >= _NAMES_LETTERS and len(answers) >= _NAMES_LETTERS):
        return True if len(golds) == _NAMES_LETTERS - 1 and _differ_in_first_capital(golds, answers) else None
    if _ARTICLE.sub("", golds).casefold() == _ARTICLE.sub("", answers).casefold():
        return True
    return None if _JOINED.search(golds) and _JOINED.search(answers) else False


def _takes_back(word: str, rest: str) -> bool:
    """Return whether the `rest` after yes, no, true or false also states the opposite."""
    opposites = (other[1].lower() for other in _OPPOSITE.finditer(rest))
    alternative = re.match(r"[\s,.;:!-]*or\b", rest, re.IGNORECASE)
    return bool(alternative) or any(_ANSWERS[other] != _ANSWERS[word.lower()] for other in opposites)


def _differ_in_first_capital(one: str, other: str) -> bool:
    """Return whether two words differ only in the case of their first letter."""
    return one.casefold() == other.casefold() and one[1:].islower() and other[1:].islower()


def is_words(text: str) -> bool:
    """Return whether `text` is words that cannot be a product of variables."""
    flat = flattened(text)
    return bool(_WORDS.fullmatch(flat)) and (len(flat) >= _NAMES_LETTERS or (flat != text and len(flat) > 1))


def read_date(text: str) -> tuple[str, int, str] | None:
    """Return month, day and year ("" without a year) of a date in words, or None."""
    match = _DATE.fullmatch(flattened(text))
    if match is None:
        return None
    return (match["month"] or match["month_"])[:3].lower(), int(match["day"] or match["day_"]), match["year"] or ""


def same_date(gold: tuple[str, int, str], answer: tuple[str, int, str]) -> bool:
    """Return whether two dates are equal; the year counts only if both have one."""
    return gold[:2] == answer[:2] and (gold[2] == answer[2] or not (gold[2] and answer[2]))


def read_time(text: str) -> tuple[int, int, int, bool | None] | None:
    """Return hour, minute, second and whether it is after noon (None if unknown) of a time of day, or None.

    An hour above 12 is kept: it may be the first part of a ratio.
    """
    match = _TIME.fullmatch(flattened(text))
    if match is None or not (match["half"] or match["minute"]) or int(match["hour"]) > 24:
        return None
    hour = int(match["hour"])
    half = (match["half"] or "").lower()
    after = None if not half else half.startswith("p") or (half == "noon")
    return hour, int(match["minute"] or 0), int(match["second"] or 0), after


def same_time(gold: tuple[int, int, int, bool | None], answer: tuple[int, int, int, bool | None]) -> bool:
    """Return whether two times of day are equal; a.m. and p.m. count only if both name one.

    The 24-hour clock is read only if one side has a.m. or p.m.: 15:20 equals 3:20 p.m., but not 3:20, which may be a ratio.
    """
    if gold[3] is not None or answer[3] is not None:
        gold, answer = _on_12_hours(gold), _on_12_hours(answer)
    return gold[:3] == answer[:3] and (gold[3] == answer[3] or gold[3] is None or answer[3] is None)


def _on_12_hours(time: tuple[int, int, int, bool | None]) -> tuple[int, int, int, bool | None]:
    """Return `time` on the 12-hour clock."""
    hour, minute, second, after = time
    if hour in (0, 24) and not after:  # midnight
        return 12, minute, second, False
    return (hour - 12, minute, second, True) if after is None and hour > 12 else time
