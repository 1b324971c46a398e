r"""Final answers that a text states in words: "The answer is 5", `**Final Answer:** 5`, `#### 5`, `<answer>5</answer>`.

A statement is a noun ("answer", in some languages; "the correct option") that is followed by a verb, a colon or the end of a
heading. It reaches to the end of its line or sentence, or of the display mathematics in it. Its reasons ("since ...", "which
...") and what only changes its looks are left out.

This runs on untrusted text. The nouns are found in one pass; around each, patterns look at no more than `_NEAR` characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_NEAR = 100
"""Characters around a noun that decide whether it marks an answer."""
_CUT = "xx "
"""Stands for the beginning of a long line: a word that no pattern knows."""
_LONGEST = 2000
"""Longer statements are cut off: nobody reads such an answer."""

_ROOTS = {
    **dict.fromkeys(("nswer", "NSWER", "inal result", "inal Result", "ption", "hoice"), 1),
    **dict.fromkeys(("Ans", "ANS", "####", "答", "正解", "故选", "답"), 0),
    **dict.fromkeys(("ntwort", "éponse", "espuesta", "esposta", "isposta", "твет", "áp án", "áp số"), 1),
}
"""What every noun contains, and how many characters of the noun stand in front of that: a search for these is fast."""
_NOUN = re.compile(
    r"(?P<tag>(?<=<)answer>)|(?P<hashes>(?<!#)####(?!#))"
    r"|(?P<other>答案|正解は?|答え|答(?=[:：])|故选|정?답|[Rr]éponse|[Rr]espuesta|[Rr]esposta|[Rr]isposta|Antwort|[Оо]твет"
    r"|[Đđ]áp (?:án|số))"
    r"|(?P<choice>(?<![A-Za-z])(?:[Oo]ption|[Cc]hoice)(?![A-Za-z]))"
    r"|(?<![A-Za-z])(?:[Aa]nswers?|ANSWERS?|Ans|ANS|[Ff]inal\s[Rr]esult)(?![A-Za-z])"
)
_LOOKS = r"(?:[*_`}\]\s]|</?[a-z]{1,8}>)"
"""What only changes the looks of a mark: bold, code, a closing brace of `\\textbf{`, tags."""
_VERB = re.compile(
    r"(?:\s+(?:to|for|of|in|we|you|that)\s[^.:;!?\n]{1,60}?)?[*_]{0,3},?\s+"
    r"(?:(?:also|then|thus|therefore|hence|now|simply|of\scourse),?\s+)?"
    r"(?:(?:is|are|was|(?:would|will|should|must|has\sto)\s+be|(?:comes\s(?:out\s)?|(?:turns|works)\sout\s)to(?:\sbe)?"
    r"|becomes|equals?)"
    r"(?![A-Za-z])|=)"
    r"(?!\s+(?:not|never)\b|n't|\s+(?:correct|right|wrong|incorrect|verified|confirmed|consistent|reasonable|valid|clear)\s*[.,!\n])",
    re.IGNORECASE,
)
_LABEL = re.compile(rf"{_LOOKS}{{0,6}}(?:[:：=]|->|→|⇒|—|–)|\s*(?=\$|\\[(\[])|\*\*[ \t]+(?=[-+]?[\d$\\(])")
_HEADING = re.compile(r"[*_`}:. ]{0,6}(?:</?[a-z]{1,8}>)?[ \t]*\r?\n")
_OTHER_VERB = re.compile(
    rf"(?:\s(?:finale?|correcte?|correcta|correta|corretta))?(?:{_LOOKS}{{0,6}}[:：=—–-]|】[:：]?|(?<=选)"
    r"|\s(?:est|es|é|è|ist|lautet|là|равен|равна)(?!\w)(?!\s(?:nicht|no|не)\b)|\s?(?:应该|应)?(?:是|为|等于)|[はは은는])"
)
_LEADING_WORDS = (
    r"so|thus|therefore|hence|and|the|my|our|your|this|a|final|correct|right|short|simplified|exact|numeric(?:al)?|required"
    r"|desired|model|step|\d{1,3}"
)
_LEADING = re.compile(rf"(?:^|[.!?:;>])(?:</?[a-z]{{1,8}}>|\\[a-z]{{4,9}}\s?\{{|\b(?:{_LEADING_WORDS})\b|[^\w\n])*+$", re.I)
"""What may stand in a line or sentence in front of a label. Possessive: a tag is also marks around a word."""
_FINAL = re.compile(r"\bfinal\W{0,3}$|\b(?:is|be)\W{1,3}$", re.IGNORECASE)
"""In front of a label in the middle of a sentence; "is": "my answer is ANSWER: 5"."""
_ARTICLE = re.compile(
    r"\b(?:the|my|our|your|this|final|correct|so|thus|therefore|hence)\s{1,9}(?:[\w-]{1,20}\s{1,9}){0,2}$", re.I
)
_CONDITION = re.compile(r"\b(?:if|whether|suppose|assume|assuming|unless)\s{1,9}(?:the|my|our|your|this)\s[^.]{0,40}$", re.I)
_IS_THE = re.compile(r",?\s(?:is|are)\s(?:the|our|my)\s(?:final\s|correct\s|required\s)?$", re.IGNORECASE)
"""In front of the noun where what stands before it is the answer: "so 5 is our answer"."""
_CLAUSE = re.compile(r"[.!?:;]\s|\b(?:so|thus|therefore|hence|since|that|and)\b,?\s", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[*_]{0,3}(?:[.!]|\s*(?:\n|\Z))")
_ADJECTIVE = re.compile(r"\b(?:correct|right|best)\s{1,9}$", re.IGNORECASE)

_INTRODUCTION = re.compile(
    r"\s{0,3}\}?(?:[\s*_`\":=：“>]|</?[a-z]{1,8}>|\\text[a-z]{0,2}\{\s*\}"
    r"|\b(?:therefore|thus|hence|then|simply|just|indeed|exactly|precisely|clearly|obviously|definitely|actually|equal\sto"
    r"|given\sby|that|approximately|about|roughly|approx\.?)(?![A-Za-z])[,:]?|[≈~]|\\approx(?![a-z]))*+",
    re.IGNORECASE,
)
"""What stands between the mark and the answer."""
_STOP = re.compile(
    r"\$\$|\\\[|\\begin\{[a-z]{1,20}\*?\}|(?:\\(?!begin\{)[^\[])+|[{}]"
    r"|\n|[。！]|(?<![AaPp]\.[Mm])\.(?=\$?[\s*\")]|\$?\Z)|[!?](?=[ \t*\"]{0,9}(?:\n|\Z))|</\w|<br|<\|",
)
"""Where a statement may end, and what to step over. The point in 3.5 ends none, nor does the factorial in 5! + 1."""
_DISPLAY = {"$$": "$$", "\\[": "\\]"}
_REASON = re.compile(
    r"\s{0,3}(?:[,;:(—–]|(?<=\s)-)?\s{0,3}(?:\\text[a-z]{0,2}\s?\{\s?)?[,(]?\s?\b(?:since|because|which|due\sto|given\sthat"
    r"|I\shope|in\stotal|altogether|as\s(?:required|desired|expected|needed|requested|shown))\b"
    r"|\s{0,3}[,;(—–]\s{0,3}(?:(?:as|so|where|not|hence|thus|therefore|meaning|that\sis|obtained|found|calculated|derived|using"
    r"|by|(?:rounded|correct)\sto|or\s(?:about|approximately|roughly|\\?approx))(?=\s+[\w$\\])|respectively\b|i\.e\.)"
    r"|(?<=[\d%})$])\sof\s(?:the|a|an|his|her|its|their|all)\b"
    r"|[，,]?(?:因为|因此|所以|其中)|です|である|입니다|이다|이에요",
    re.IGNORECASE,
)
"""Where the reasons of an answer begin."""
_BOLD = re.compile(r"(?<![\w)\]}*])\*\*([^*\n]+)\*\*(?![\w*])")
_PREDICATE = re.compile(
    r"[A-Za-z][a-z]+\b(?P<subject>.*?)\s(?:is|are|equals)\s(?P<predicate>[-+−]?\s?[\d.$\\(\[{£€].*)", re.DOTALL
)
_ANOTHER_VERB = re.compile(r"\s(?:is|are|equals)\s")
_QUOTES = " \t\r\n*_`\"'“‘"
_ORNAMENTS = " \t\r\n*_`\"'“”.,;:✅✓✔☑🎉■□∎\ufe0f"
_TIME = re.compile(r"[ap]\.m\Z", re.IGNORECASE)
_WORDS_ONLY = re.compile(r"[ \t]*(?:[A-Z][A-Za-z ]{3,60}:?|Step\s\d.{0,80})[ \t*]*\n\s*\S")
"""Behind `####`: a heading of words with text below it."""


def stated_answer(text: str) -> str | None:
    """Return what the last statement in `text` says, perhaps nothing (""), or None where no statement is made."""
    for noun in _nouns(text):
        if noun["tag"]:
            return _tagged(text, noun.end())
        if (start := _start(text, noun)) is not None:
            return _stated(text, start)
        if (subject := _subject(text, noun)) is not None:
            return subject
    return None


def without_reason(answer: str) -> str:
    """Return `answer` up to where its reasons begin: `5, since 2+3=5` is `5`."""
    reason = _REASON.search(answer)
    head = answer[: reason.start()] if reason else ""
    return head if head.strip() and head.count("{") == head.count("}") else answer


def _nouns(text: str) -> Iterator[re.Match[str]]:
    """The nouns in `text`, the last one first."""
    places = {root: place for root in _ROOTS if (place := text.rfind(root)) >= 0}
    while places:
        root = max(places, key=lambda root: places[root])
        place = places.pop(root)
        if noun := _NOUN.match(text, max(0, place - _ROOTS[root])):
            yield noun
        if (before := text.rfind(root, 0, place)) >= 0:
            places[root] = before


def _start(text: str, noun: re.Match[str]) -> int | None:
    """Where the statement begins that `noun` makes, or None if it makes none."""
    end = noun.end()
    if noun["other"]:
        verb = _OTHER_VERB.match(text, end)
        return verb.end() if verb else None
    before = _line_before(text, noun)
    if noun["hashes"]:
        return None if len(before) > 3 or before.strip(" \t") or _WORDS_ONLY.match(text, end) else end
    before = before.replace("*", "").replace("_", " ")
    verb = _VERB.match(text, end, end + _NEAR)
    if noun["choice"]:
        return verb.end() if verb and _ADJECTIVE.search(before) else None
    if verb:
        marks = not _CONDITION.search(before) and (_ARTICLE.search(before) or _LEADING.search(before))
        return verb.end() if marks else None
    if label := _LABEL.match(text, end, end + _NEAR):
        return label.end() if _LEADING.search(before) or _FINAL.search(before) else None
    if heading := _HEADING.match(text, end, end + _NEAR):
        return heading.end() if _LEADING.match(before) else None
    return None


def _line_before(text: str, noun: re.Match[str]) -> str:
    """What stands in front of `noun` in its line; of a long line `_CUT` and the end."""
    before = text[max(0, noun.start() - _NEAR) : noun.start()]
    whole_line = len(before) < _NEAR or "\n" in before
    return ("" if whole_line else _CUT) + before.rpartition("\n")[2]


def _subject(text: str, noun: re.Match[str]) -> str | None:
    """What is said to be the answer in front of `noun`: "so 5 is our answer"."""
    if noun["hashes"] or noun["other"] or noun["choice"] or not _SENTENCE_END.match(text, noun.end()):
        return None
    before = _line_before(text, noun)
    verb = _IS_THE.search(before)
    subject = _CLAUSE.split(before[: verb.start()])[-1] if verb else ""
    return _plain(subject) if re.search(r"[\d$\\]", subject) and not subject.startswith(_CUT) else None


def _tagged(text: str, start: int) -> str:
    """What stands between `<answer>`, which ends at `start`, and its closing tag; nothing if there is none."""
    stop = text.find("</answer>", start)
    return without_reason(_plain(text[start:stop])) if stop >= 0 else ""


def _stated(text: str, start: int) -> str:
    """What a statement says whose mark ends at `start`."""
    introduction = _INTRODUCTION.match(text, start, start + _LONGEST)
    if introduction:  # but for the marks of bold, whose other half may stand within the answer
        start += len(introduction.group().rstrip("*"))
    end = _end(text, start)
    if end is None:
        return ""
    said = text[start:end].strip()
    for opening, closing in _DISPLAY.items():
        inside = said.rstrip(_ORNAMENTS).removeprefix(opening).removesuffix(closing)
        if len(inside) == len(said.rstrip(_ORNAMENTS)) - 4 and opening not in inside:
            return _plain(inside)
    said = _plain(without_reason(said))
    sentence = _PREDICATE.fullmatch(said)
    if sentence and not _ANOTHER_VERB.search(sentence["subject"]) and not _ANOTHER_VERB.search(sentence["predicate"]):
        return sentence["predicate"]
    return said


def _end(text: str, start: int) -> int | None:
    """Where the statement that begins at `start` ends; None if display mathematics in it is never closed."""
    depth, beyond = 0, start
    limit = min(len(text), start + _LONGEST)
    for stop in _STOP.finditer(text, start, limit):
        if stop.start() < beyond:
            continue
        part = stop.group()
        if closing := _DISPLAY.get(part) or (part.startswith("\\begin") and part.replace("begin", "end", 1)):
            closed = text.find(closing, stop.end(), limit)
            if closed < 0:
                return None
            beyond = closed + len(closing)
        elif part in "{}":
            depth += 1 if part == "{" else -1
            if depth < 0:
                return stop.start()
        elif not part.startswith("\\"):
            return stop.end() + (text[stop.end() : stop.end() + 1] == "$") if part == "." else stop.start()
    return limit


def _plain(answer: str) -> str:
    """`answer` without emphasis, ornaments and the punctuation behind it."""
    answer = _BOLD.sub(r"\1", answer).lstrip(_QUOTES).rstrip(_ORNAMENTS)
    return f"{answer}." if _TIME.search(answer) else answer
