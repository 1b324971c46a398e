r"""Marks of an answer in words: "The answer is", `**Final Answer:**`, `Ans.`, `#### `, `<answer>`, `"answer":`.

A mark is a noun ("answer" in several languages, "the correct option") followed by a verb, a colon or the end of a heading. One
pass finds the nouns, last first; patterns read at most `_NEAR` characters around each noun.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

_NEAR = 100
"""Characters around a noun that decide whether it marks an answer."""
_MAX_PLACES = 5000
"""Places that may hold a noun, counted from the end of the text, that are examined."""
_CUT = "xx "
"""Replaces the beginning of a long line: a word that no pattern matches."""

_ROOTS = {
    **dict.fromkeys(("nswer", "NSWER", "inal result", "inal Result", "ption", "hoice", "etter", "esult", "olution"), 1),
    **dict.fromkeys(("Ans", "ANS", "ans", "Sol", "####", "答", "正解", "选", "답", "Key", "key"), 0),
    **dict.fromkeys(("ntwort", "ndergebnis", "éponse", "espuesta", "esposta", "isposta", "твет", "áp án", "áp số"), 1),
}
"""Strings of which every noun contains one, for a fast search, with the number of characters of the noun before each."""
_NOUN = re.compile(
    r"(?P<key>(?:(?<=[\"'])|(?<=[_ ]))answer(?=[\"']\s{0,9}:))"
    r"|(?P<tag>(?:(?<=<)|(?<=<final_))(?:[Aa]nswer|ANSWER)>)|(?P<hashes>(?<!#)####(?!#))"
    r"|(?P<letter>(?:(?<=故)|(?<=所以)|(?<=因此)|(?<=答案)|(?<=应)|(?<=应该)|(?<=正确))选[项择]?)"
    r"|(?P<other>答案|正解|答え|答(?=[:：])|정?답|[Rr]éponse|[Rr]espuesta|[Rr]esposta|[Rr]isposta|Antwort|Endergebnis|[Оо]твет"
    r"|[Đđ]áp (?:án|số))"
    r"|(?<![A-Za-z])(?:(?P<choice>(?:[Aa]nswer\s)?(?:[Oo]ption|[Cc]hoice|[Ll]etter|[Kk]ey))"
    r"|(?P<abbreviation>A(?:ns|NS)|ans)|(?P<result>Sol(?:n|ution)?|Result)"
    r"|[Aa]nswers?|ANSWERS?|[Ff]inal\s[Rr]esult)(?![A-Za-z])"
)
_LOOKS = r"(?:[*_`}\]\s]|</?[a-z]{1,8}>)"
"""Formatting of a mark: bold, code, a closing brace of `\\textbf{`, tags."""
_QUOTED = r"\"[^\"\n]{0,80}\"|“[^”\n]{0,80}”"
_BE = r"(?:is|are|was|(?:would|will|should|must|has\sto)\s+be)"
_VERB = re.compile(
    rf"(?:\s+(?:to|for|of|in|we|you|that)\s(?:{_QUOTED}|[^.:;!?\n\"“]){{1,60}}?)?[*_]{{0,3}},?"
    r"(?:\s+(?:(?:also|then|thus|therefore|hence|now|simply|of\scourse),?\s+)?"
    rf"(?:{_BE}(?P<not>n['’]t)?|(?:comes\s(?:out\s)?|(?:turns|works)\sout\s)(?:as|to)(?:\sbe)?|becomes|equals?)"
    r"(?![A-Za-z])|\s+=|['’]s(?=\s))(?:\s+(?:found|known|computed|calculated|determined|seen)\s+to\s+be(?![A-Za-z]))?",
    re.IGNORECASE,
)
_VALUE_AHEAD = r"(?=[*_`\"'$(\[{+−-]{0,6}(?:\d|\\[a-z(\[]|(?!I\b)[A-Z]|[a-z]\b|[√π]))"
_NOT = re.compile(
    r"[\s*_]{0,4}(?:(?:therefore|thus|then|hence|actually|in\sfact)\s+)?(?:not|never|neither|no\slonger)\s+|(?=\s*(?:nicht|no|pas)\s)",
    re.I,
)
_BUT = re.compile(
    r"(?!(?:only|just|merely)\s)(?:[^.!?\n]|\.(?=\d)){1,60}?"
    r"(?:,?[\s*_]{1,4}but(?:\s+(?:rather|instead|actually|in\sfact))?,?|[,;—–]\s*(?:rather|instead),?"
    rf"|[,;—–]\s*(?:it|this|that)(?:['’]s|\s(?:is|should\sbe|must\sbe)))\s+{_VALUE_AHEAD}"
)
"""The text after "not" in "The answer is not 6 but 5", up to the 5."""
_LABEL = re.compile(
    rf"(?:\s(?:to|for)\s[^:=.!?\n]{{1,40}}|\s\([^()\n]{{1,40}}\))?{_LOOKS}{{0,6}}(?:[:：=]|->|→|⇒|—|–)"
    r"|\s*(?=\$|\\[(\[])|\*\*[ \t]+(?=[-+]?[\d$\\(])"
)
_SHORT_LABEL = re.compile(rf"{_LOOKS}{{0,6}}(?:[.)]{_LOOKS}{{0,6}}[:：]?|-(?=\s))(?=[\s*_]*{_VALUE_AHEAD})")
"""The end of an abbreviated label: `Ans. 5`, `Ans) 5`, `Ans - 5`."""
_RESULT_LABEL = re.compile(rf"{_LOOKS}{{0,6}}[:：](?=[\s*_]*{_VALUE_AHEAD})")
_OF = re.compile(r"\s+(?:of\s+)?(?=[$(\[{+−-]{0,3}(?:\d|\\))")
_HEADING = re.compile(r"[*_`}:：. ]{0,6}(?:</?[a-z]{1,8}>)?[ \t]*\r?\n")
_OTHER_HEADING_END = re.compile(rf"(?:\s(?:finale?|correcta?|correcte))?{_HEADING.pattern}")
_LETTER_AHEAD = r"(?=[\s*_$({\[（]{0,6}(?:\\[a-z]{2,9}\s?\{[\s*(]{0,3})?[A-J](?![A-Za-z'’]|\s[a-z]))"
_CHOICE_LABEL = re.compile(rf"{_LOOKS}{{0,6}}[:：=]{_LETTER_AHEAD}")
_CHOICE_IS_CORRECT = re.compile(
    r"\s+(?P<letter>\(?[A-J]\)?)[*_]{0,3}\s+(?:is|must\sbe|would\sbe)\s+(?:the\s+)?(?:correct|right)(?![A-Za-z])"
)
_CHINESE_LETTER = re.compile(rf"\s?[是为:：]?{_LETTER_AHEAD}")
_OTHER_VERB = re.compile(
    rf"(?:\s(?:finale?|correcte?|correcta|correta|corretta))?(?:{_LOOKS}{{0,6}}[:：=—–-]|】[:：]?"
    r"|\s(?:est|es|é|è|ist|lautet|là|равен|равна)(?!\w)(?!\s(?:nicht|no|не)\b)|\s?(?:应该|应)?(?:是|为|等于)|[はは은는])"
)
_OTHER_BUT = re.compile(
    r"不(?:是|为|等于)[^。！\n]{1,40}?而(?:是|为)|(?:\s\w{1,12})?(?:\sist\snicht|\sn['’]est\spas|\sno\ses|\snon\sè|\snão\sé)\s"
    r"[^.!?\n]{1,40}?,?\s(?:sondern|mais|sino|ma|mas)\s"
)
_OTHER_INVERTED = re.compile(r"\b(?:ist|lautet)\sdie\s(?:\w{1,20}\s)?$")
_OTHER_HEADING = re.compile(r"[^\w\n]*(?:最终|正确|[A-Z]\w{1,9}\s)?$")
_LEADING_WORDS = (
    r"so|thus|therefore|hence|and|the|my|our|your|this|a|final|correct|right|best|selected|short|simplified|exact|numeric(?:al)?"
    r"|required|desired|model|step|\d{1,3}"
)
_LEADING = re.compile(rf"(?:^|[.!?:;>])(?>(?:</?[a-z]{{1,8}}>|\\[a-z]{{4,9}}\s?\{{|\b(?:{_LEADING_WORDS})\b|[^\w\n])*)$", re.I)
"""Words that may precede a label in its line or sentence. Atomic, because a tag also matches as marks around a word."""
_FINAL = re.compile(
    r"\bfinal\W{0,3}$|\b(?:is|be)\W{1,3}$|\b(?:gives?|giving|yields?|get|obtain|have|reach)\s(?:us\s)?(?:the|our|an?)\s$",
    re.IGNORECASE,
)
"""Words before a label in the middle of a sentence, as in "my answer is ANSWER: 5"."""
_GIVES = re.compile(
    r"\b(?:gives?|giving|yields?|get|obtain|have|reach|find)\s(?:us\s)?(?:the|our|an?)\s(?:final\s|correct\s)?$", re.IGNORECASE
)
_ARTICLE = re.compile(
    r"\b(?:the|my|our|your|this|final|correct|so|thus|therefore|hence)\s{1,9}"
    r"(?:(?!wrong|incorrect|false|naive|mistaken|previous|common)[\w-]{1,20}\s{1,9}){0,2}$",
    re.I,
)
_CONDITION = re.compile(
    r"\b(?:(?:if|whether|suppose|assume|assuming|unless)\s{1,9}(?:the|my|our|your|this)\s"
    r"|(?:one|you|we|some|many|people|students?)\s(?:(?:might|may|could)\s)(?:\w{1,9}\s)?(?:think|say|guess|expect|believe|assume)\s"
    r"|(?:if\s[^.]{1,40}|we\s)\b(?:had|were)\s|had\s(?:there|we|he|she|it|they)\s)(?:(?!\bbut\b)[^.]){0,40}$",
    re.IGNORECASE,
)
_IS_THE = re.compile(r",?\s(?:is|are)\s(?:the|our|my)\s(?:(?:final|correct|required|right|best)\s)?$", re.IGNORECASE)
"""Words between the answer and a noun that follows it: "so 5 is our answer"."""
_CLAUSE = re.compile(r"[.!?:;]\s|\b(?:so|thus|therefore|hence|since|that|and)\b,?\s", re.IGNORECASE)
_SUBJECT = re.compile(r"[\d$\\]|^(?:[Oo]ption |[Cc]hoice )?[*(]{0,3}[A-J][)*]{0,3}$")
_SENTENCE_END = re.compile(r"[*_]{0,3}(?:[.!]|\s*(?:\n|\Z))")
_ADJECTIVE = re.compile(r"\b(?:correct|right|best|answer)\s{1,9}$", re.IGNORECASE)
_WORDS_ONLY = re.compile(r"[ \t]*(?:[A-Z][A-Za-z ]{3,60}:?|Step\s\d.{0,80})[ \t*]*\n\s*\S")
"""A heading of words after `####`, with text below it."""


class Form(Enum):
    """The kinds of marks."""

    LABEL = "label"
    """a label, a heading or `####`"""
    VERB = "verb"
    RESULT = "result"
    """a label of a result or solution, which may belong to a step"""
    TAG = "tag"
    KEY = "key"
    """a key of a JSON object"""
    SUBJECT = "subject"
    """words after the answer: "is our answer\""""


@dataclass(frozen=True)
class Mark:
    """A mark of an answer: its form, where the answer begins, and for `Form.SUBJECT` the answer."""

    form: Form
    start: int
    subject: str = ""


def marks(text: str) -> Iterator[Mark]:
    """Yield the marks in `text`, the last one first."""
    for noun in _nouns(text):
        if (mark := _mark(text, noun)) is not None:
            yield mark


def _nouns(text: str) -> Iterator[re.Match[str]]:
    """Yield the nouns in `text`, the last one first."""
    places = {root: place for root in _ROOTS if (place := text.rfind(root)) >= 0}
    start = len(text)
    for _ in range(_MAX_PLACES):
        if not places:
            return
        root = max(places, key=lambda root: places[root])
        place = places.pop(root)
        noun = _NOUN.match(text, max(0, place - _ROOTS[root]))
        if noun and noun.start() < start:  # a noun may hold two roots
            start = noun.start()
            yield noun
        if (before := text.rfind(root, 0, place)) >= 0:
            places[root] = before


def _mark(text: str, noun: re.Match[str]) -> Mark | None:
    """Return the mark that `noun` forms, or None."""
    kind, end = noun.lastgroup, noun.end()
    if kind in ("tag", "key"):
        return Mark(Form(kind), end)
    if kind in ("other", "letter"):
        return _other_mark(text, noun)
    before = _line_before(text, noun)
    if kind == "hashes":
        words = len(before) > 3 or before.strip(" \t") or _WORDS_ONLY.match(text, end)
        return None if words else Mark(Form.LABEL, end)
    before = before.replace("*", "").replace("_", " ")
    if kind == "choice":
        return _choice_mark(text, noun, before) or _subject_mark(text, noun, before)
    if kind == "result":
        result = _RESULT_LABEL.match(text, end, end + _NEAR) or _SHORT_LABEL.match(text, end, end + _NEAR)
        return Mark(Form.RESULT, result.end()) if result and _LEADING.search(before) else None
    if verb := _VERB.match(text, end, end + _NEAR):
        stated = not _CONDITION.search(before) and (_ARTICLE.search(before) or _LEADING.search(before))
        start = _past_denial(text, verb.end(), bool(verb["not"])) if stated else None
        return Mark(Form.VERB, start) if start is not None else None
    if (label := _label(text, end, short=kind == "abbreviation")) is not None:
        leads = _LEADING.search(before) or _FINAL.search(before)
        return Mark(Form.LABEL, _past_denial(text, label) or label) if leads else None
    if (of := _OF.match(text, end, end + _NEAR)) and _GIVES.search(before):
        return Mark(Form.VERB, of.end())
    if (heading := _HEADING.match(text, end, end + _NEAR)) and _LEADING.match(before):
        return Mark(Form.LABEL, heading.end())
    return _subject_mark(text, noun, before)


def _label(text: str, end: int, short: bool) -> int | None:
    """Return where the label ends whose noun ends at `end`, or None; a `short` label may end with a point."""
    label = _LABEL.match(text, end, end + _NEAR) or (_SHORT_LABEL.match(text, end, end + _NEAR) if short else None)
    return label.end() if label else None


def _past_denial(text: str, start: int, denied: bool = False) -> int | None:
    """Return `start`, or where the answer in "not 6 but 5" begins; None if a denial gives no answer."""
    if negation := _NOT.match(text, start, start + _NEAR):
        denied, start = True, negation.end()
    if not denied:
        return start
    but = _BUT.match(text, start, start + _NEAR)
    return but.end() if but else None


def _choice_mark(text: str, noun: re.Match[str], before: str) -> Mark | None:
    """Return the mark of `Correct choice: B`, "The correct option is B" or "Option B is correct"; or None."""
    end = noun.end()
    if (label := _CHOICE_LABEL.match(text, end, end + _NEAR)) and _LEADING.search(before):
        return Mark(Form.LABEL, label.end())
    if _CONDITION.search(before):
        return None
    if correct := _CHOICE_IS_CORRECT.match(text, end, end + _NEAR):
        return Mark(Form.SUBJECT, end, correct["letter"])
    verb = _VERB.match(text, end, end + _NEAR)
    if not verb or not (noun.group().lower().startswith("answer") or _ADJECTIVE.search(before)):
        return None
    start = _past_denial(text, verb.end(), bool(verb["not"]))
    return Mark(Form.VERB, start) if start is not None else None


def _other_mark(text: str, noun: re.Match[str]) -> Mark | None:
    """Return the mark of a noun in another language, or None."""
    end = noun.end()
    if noun["letter"]:
        letter = _CHINESE_LETTER.match(text, end, end + _NEAR)
        return Mark(Form.LABEL, letter.end()) if letter else None
    if verb := _OTHER_BUT.match(text, end, end + _NEAR) or _OTHER_VERB.match(text, end):
        return Mark(Form.LABEL, verb.end())
    before = _line_before(text, noun)
    if _OTHER_INVERTED.search(before) and text.startswith(" ", end):
        return Mark(Form.LABEL, end)
    heading = _OTHER_HEADING_END.match(text, end, end + _NEAR)
    return Mark(Form.LABEL, heading.end()) if heading and _OTHER_HEADING.match(before) else None


def _line_before(text: str, noun: re.Match[str]) -> str:
    """Return the text before `noun` in its line; of a long text, `_CUT` and the end."""
    before = text[max(0, noun.start() - _NEAR) : noun.start()]
    whole_line = len(before) < _NEAR or "\n" in before
    return ("" if whole_line else _CUT) + before.rpartition("\n")[2]


def _subject_mark(text: str, noun: re.Match[str], before: str) -> Mark | None:
    """Return the mark of an answer that precedes `noun`: "so 5 is our answer"; or None."""
    if not _SENTENCE_END.match(text, noun.end()) or not (verb := _IS_THE.search(before)):
        return None
    subject = _CLAUSE.split(before[: verb.start()])[-1].strip()
    stated = _SUBJECT.search(subject) and not subject.startswith(_CUT)
    return Mark(Form.SUBJECT, noun.end(), subject) if stated else None
