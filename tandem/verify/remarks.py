"""Parts of a statement that are not the answer: introductions, reasons and contrasts; and remarks without an answer."""

from __future__ import annotations

import re

_MAX_CHARS = 2000
"""Longer answers are not searched for reasons: no real answer is that long."""
_ADVERBS = (
    r"therefore|thus|hence|then|simply|just|indeed|exactly|precisely|clearly|obviously|definitely|actually|in\sfact|equal\sto"
    r"|given\sby|that|approximately|about|roughly|approx\.?|donc|alors|also|entonces|quindi|portanto"
)
_KIND_OF_OBJECT = (
    r"\bthe\s(?:ordered\s|closed\s|open\s)?(?:point|pair|triple|interval|set|vector|matrix|number|integer|value|fraction|expression)"
    r"(?=\s\$?\s?(?:[-+−(\[\d]|\\))"
)
"""The kind of the mathematical object that follows."""
INTRODUCTION = re.compile(
    r"\s{0,3}\}?(?>(?:[\s*_`\":=：“>]|</?[a-z]{1,8}>|\\text[a-z]{0,2}\{\s*\}"
    rf"|{_KIND_OF_OBJECT}"
    r"|…|\.{3}|[—–](?=\s)|选项|\bin\sthe\s(?:interval|range)\b"
    r"|\b(?:as\sfollows|the\sfollowing|(?:(?:given|shown|stated)\s)?(?:below|here)|simple|easy|clear|obvious)\s?[:：]"
    rf"|\b(?:{_ADVERBS})(?![A-Za-z])[,:]?|≈|~(?!~)|\\approx(?![a-z])|(?:given|written|expressed|obtained|stated)\sas\b)*)",
    re.IGNORECASE,
)
"""Words and signs between a mark and the answer."""
_OPENS = r"\s{0,3}(?:[,;(—–]|(?<=\s)--?)?\s{0,3}(?:\\text[a-z]{0,2}\s?\{\s?)?\$?\s{0,3}\b"
_RATHER = r"(?:rather\sthan|instead\sof|as\sopposed\sto|as\sagainst|in\splace\sof)\b"
_MARKED_VALUE = r"(?:[*_$(\[{+−-]{0,4}(?:\d|\\[a-z(])|\*{0,2}\([A-J]\))"
_REASON = re.compile(
    r"\s{0,3}(?:[,;:(—–]|(?<=\s)-)?\s{0,3}(?:\\text[a-z]{0,2}\s?\{\s?)?[,(]?\s?\b(?:since|because|which|due\sto|given\sthat"
    r"|I\shope|and\sI\b|see|cf|confidence|in\stotal|altogether|as\s(?:required|desired|expected|needed|requested|shown))\b"
    r"|\s{0,3}[,;(—–]\s{0,3}(?:(?:as|so|where|not|hence|thus|therefore|meaning|that\sis|obtained|found|calculated|derived|using"
    r"|by|(?:rounded|correct)\sto|or\s(?:about|approximately|roughly|\\?approx))(?=\s+[\w$\\])|respectively\b|i\.e\.)"
    rf"|(?<=[\d%}})$\]°*]){_OPENS}{_RATHER}|{_OPENS}{_RATHER}(?=\s+(?:the\s)?(?:{_MARKED_VALUE}|[A-Z]|[a-z]\b))"
    rf"|(?<=[\w%}})$\]°*])(?<!numbers)(?<!reals)(?<!integers)(?<!values)(?=[\s,(—–-]){_OPENS}(?:(?:and|but)\s)?not\s+(?:the\s)?{_MARKED_VALUE}"
    r"|(?<=[\d%})$])[,;]?\s{1,3}but\s(?:I|that|this|let|we|please)\b"
    r"|\s\|\s[A-Z][a-z]"
    r"|(?<=[\d%})$])\sof\s(?:the|a|an|his|her|its|their|all)\b"
    r"|[，,]?(?:因为|因此|所以|其中|而不是|而非|并非|不是)|です|である|입니다|이다|이에요"
    r"|,\s(?:weil|denn|car|puisque|parce|ya\sque|porque|pues)\b"
    rf"|,\s{{1,3}}(?:nicht|no|non|pas|não|не|(?:und|et|y|e|а)\s(?:nicht|no|non|não|не))\s(?={_MARKED_VALUE})",
    re.IGNORECASE,
)
"""Where the reason for an answer or a rejected value begins."""
ALTERNATIVE = r"\bor\b(?:[^.]|\.(?=\d)){0,200}?\b(?:since|because|when|if)\b"
"""A regular expression for a second answer after the reason for the first, with a reason of its own."""
_ALTERNATIVE = re.compile(ALTERNATIVE)

_DEGREE = r"(?>(?:(?:very|quite|pretty|rather|so|really|fairly|too|all|both|always|indeed|also|now)\s+)*)"
_PARTICIPLE = r"(?:(?!un|increas|decreas|reduc|multipl|divid)[a-z]+ed|found|given|shown|written|known|seen)"
_REMARK = re.compile(
    rf"{_DEGREE}(?:(?:easy|easier|hard|difficult|obvious|clear|simple|trivial|straightforward|evident|plausible|reasonable|sensible"
    r"|correct|right|wrong|incorrect|consistent|helpful|useful|interesting|surprising|complicated|ready|done"
    r"|above|below|here|there|found|given|shown|rounded|obtained|verified|confirmed|checked|derived|stated|computed|calculated"
    r"|proved|proven|known|needed|required)(?=\s*(?:[.,;:!?(]|\Z)|\s+(?:to|that|because|since|as|by|if|when|enough|for|in|with|once)\b)"
    rf"|{_PARTICIPLE}\s+(?:(?:by|on|from|with|using)\b"
    r"|(?:to|in|as|above|below|here|for|at|when)\b(?!\s+(?:\$|\\|\d++(?!\s?(?:decimal|significant|digit|place)))))"
    r"|in\s(?:simplest|simplified|lowest|terms|the\sform)\b|as\s(?:expected|above|before|required|desired)\b|not\s)",
    re.IGNORECASE,
)
"""The beginning of a remark on an answer."""
_WORDS = re.compile(r"(?=odd\b|.*[a-z]{4})[a-z]{2}[A-Za-z ,;'’()-]*")
_KIND_OF_NUMBER = re.compile(
    r"(?:an?|some)\s(?>(?:(?:single|unique|positive|negative|non-?negative|whole|natural|real|rational|prime|even|odd|perfect)\s)*)"
    r"(?:integer|number|fraction|decimal|multiple|divisor|factor|function|value|percentage|square|cube|prime)\b",
)
_WORDS_FOR_VALUES = re.compile(
    r"(?:no|yes|none|true|false|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty|hundred|thousand"
    r"|million|half|infinit\w*|undefined|unbounded|impossible|indeterminate|empty|diverge\w*|nothing|never|always|neither|both)\b"
    r"|(?:does|do|can)(?:\snot|n['’]t|not)\b|there\s|all\s|not\s(?:possible|enough|defined|real)\b|(?:in|un)(?:determin|solv)\w+",
    re.IGNORECASE,
)
_PREDICATE = re.compile(
    r"[A-Za-z][a-z]+\b(?P<subject>.*?)\s(?:is|are|equals)\s(?P<predicate>[-+−]?\s?[\d.$\\(\[{£€].*)", re.DOTALL
)
_ANOTHER_VERB = re.compile(r"\s(?:is|are|equals)\s")
_NUMBER = r"\\?[$£€]?\s?\d[\d,]*(?:\.\d+)?(?:/\d+)?\$?%?"
_OBJECT = re.compile(
    r"(?:[A-Z][a-z]*|I)(?:\s[A-Za-z'’]+){0,5}?\s(?:ha[sd]|have|makes?|made|takes?|took|needs?|costs?|earn(?:s|ed)?|spen[dt]s?|saved?|saves"
    r"|gets?|got|pa(?:ys?|id)|buys?|bought|sells?|sold|eats?|ate|read|ran|walked|drove|scored|weighs?|contains?|owes?|uses?|used"
    r"|(?:will|can|should|must|would)\s[a-z]+)\s(?:(?:a\stotal\sof|about|approximately|exactly)\s)?"
    rf"(?P<value>{_NUMBER}(?:\s(?!(?:more|left|every|each|per|an?|at|by|for|from|in|of|on|over|to|and|or)\b)[A-Za-z]+)?)"
    r"(?!\s?(?:and|or|,)\b)[^\d\\]*"
    rf"|[\u4e00-\u9fff，]{{0,30}}[有是为要剩花得共](?P<counted>{_NUMBER}[\u4e00-\u9fff]{{0,9}})"
)
"""A sentence whose object is its only number: "Tom has 5 apples left"."""


def without_sentence(statement: str) -> str:
    """Return the answer in a whole sentence: "5 apples" for "Tom has 5 apples left", 34 for "the largest n is 34"."""
    sentence = _PREDICATE.fullmatch(statement)
    if sentence and not _ANOTHER_VERB.search(sentence["subject"]) and not _ANOTHER_VERB.search(sentence["predicate"]):
        return sentence["predicate"]
    clause = _OBJECT.fullmatch(statement)
    return (clause["value"] or clause["counted"]) if clause else statement


def without_reason(answer: str) -> str:
    """Return `answer` up to its reason or to a rejected value: `5, since 2+3=5` and `5, not 6` become `5`."""
    reason = _REASON.search(answer) if len(answer) <= _MAX_CHARS else None
    if reason and _ALTERNATIVE.search(answer, reason.end()):
        return answer
    head = answer[: reason.start()] if reason else ""
    return head if head.strip() and head.count("{") == head.count("}") else answer


def is_remark(statement: str) -> bool:
    """Return whether `statement` describes an answer and states none: "easy", "obtained by adding"."""
    return bool(_REMARK.match(statement))


def holds_value(statement: str) -> bool:
    """Return whether `statement` is more than common words: a number, mathematics, a name or a word for a value."""
    if _KIND_OF_NUMBER.match(statement):
        return False
    return not _WORDS.fullmatch(statement) or bool(_WORDS_FOR_VALUES.match(statement))
