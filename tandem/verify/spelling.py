r"""Canonical spelling: Unicode, fonts, spacing, digit groups and delimiters become plain LaTeX.

The result has single spaces, `\frac`, `\sqrt` and `\binom` with braces around their arguments, `\text{...}` for every upright
font, `\leq`, `\geq` and `\neq` for their relations, and `°` for degrees. Only characters are replaced; nothing is evaluated.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufe0f\ufeff]")
_SCRIPT = re.compile(r"([⁰¹²³⁴-⁹⁺⁻⁼⁽⁾ⁿⁱˣ]+)|([₀-₉₊₋₌₍₎ₐₑₒₓₙₖₘ]+)")
_ROOT = re.compile(r"([√∛∜])\s*(\d+(?:\.\d+)?|[A-Za-zπ]|\([^()]*\)|\{[^{}]*\})")
_ROOTS = {"√": "\\sqrt", "∛": "\\sqrt[3]", "∜": "\\sqrt[4]"}
_SYMBOLS = str.maketrans(
    {"\u2212": "-", "\u2013": "-", "\u2014": "-", "\u2010": "-", "\u2011": "-", "\u2044": "/", "\u2215": "/", "\u2236": ":"}
    | {"×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "∙": "\\cdot ", "÷": "/", "±": "\\pm ", "∓": "\\mp ", "∗": "*"}
    | {"∞": "\\infty ", "≤": "\\leq ", "≥": "\\geq ", "⩽": "\\leq ", "⩾": "\\geq ", "≠": "\\neq ", "≈": "\\approx "}
    | {"∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "∉": "\\notin ", "∅": "\\emptyset ", "∖": "\\setminus ", "∣": "\\mid "}
    | {"ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℕ": "\\mathbb{N}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}", "∠": "\\angle "}
    | {"π": "\\pi ", "θ": "\\theta ", "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "δ": "\\delta ", "λ": "\\lambda "}
    | {"φ": "\\phi ", "ω": "\\omega ", "σ": "\\sigma ", "Δ": "\\Delta ", "º": "°", "˚": "°", "∘": "°", "′": "'", "’": "'"}
    | {"″": "''", "“": '"', "”": '"', "⟨": "(", "⟩": ")", "∧": "\\land ", "∨": "\\lor ", "∆": "\\Delta ", "、": ","}
)
_GREEK_MU = re.compile("μ(?![A-Za-z])")
_GROUP_MARK = r"(?:\{,\}|\\text\s?\{,\}|,?\s?\\!\s*|\\[,;: ]|~)"
_DIGIT_GROUPS = re.compile(rf"(?<![\d.])\d{{1,3}}(?:{_GROUP_MARK}\d{{3}})+(?!\d)")
_GROUP_MARKS = re.compile(_GROUP_MARK)
_DELIMITER = re.compile(r"(?<!\\)\\[()\[\]]|\\begin\{(?:math|displaymath|equation\*?|align(?:ed)?\*?|gather(?:ed)?\*?)\}"
                        r"|\\end\{(?:math|displaymath|equation\*?|align(?:ed)?\*?|gather(?:ed)?\*?)\}")  # fmt: skip
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z])")
_DOLLAR = re.compile(r"(?<!\\)\$")
_CELL = re.compile(r"\\begin\{(?:array|matrix)\}(?:\{[^{}]*\})?([^&\\]*)\\end\{(?:array|matrix)\}")
_ROW_GAP = re.compile(r"(\\\\|\\cr)\s?\[-?[\d.]+\s?(?:pt|em|ex|mm|cm|in)\]")
_SPACE = re.compile(
    r"\\(?:quad|qquad|enspace|thinspace|medspace|thickspace|nobreakspace|newline|hfill|par)(?![A-Za-z])"
    r"|(?<!\\)\\[,;:> ]|\\[hv]space\*?\s?\{[^{}]*\}|~|\\kern[-\d.]+(?:pt|em)"
)
_NO_LOOKS = re.compile(
    r"\\(?:left|right)\.|\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|scriptstyle|scriptscriptstyle|limits|nolimits|strut|mathstrut"
    r"|bf|rm|it|sf|tt|sl|em|bfseries|itshape|mathsf|boldmath|tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE"
    r"|huge|Huge|checkmark|vec|noindent|centering|boxed|fbox|underline|mathbf|mathit|mathsf|mathtt|mathcal|mathnormal|boldsymbol|bm|pmb"
    r"|ensuremath|hbox|smash|displaylimits)(?![A-Za-z])"
    r"|[✓✔☑✅]|\\!|\\(?:textcolor|colorbox|fcolorbox)\s?(?:\[[^\[\]]*\])?\{[^{}]*\}|\\color\s?(?:\[[^\[\]]*\])?\{[^{}]*\}"
    r"|\\(?:hphantom|vphantom|phantom|label|tag)\*?\s?\{[^{}]*\}"
)
_UPRIGHT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|sl|sc|up|md|normal)|emph|mathrm|mbox|operatorname\*?|textup)(?![A-Za-z])\s?(?=\{)|\\text\s+(?=\{)"
)
_FUNCTION = re.compile(
    r"\\text\{\s?((?:arc|ar)?(?:sin|cos|tan|cot|sec|csc)h?|ln|log|exp|gcd|lcm|floor|ceil|det|sgn|Re|Im|arg"
    r"|(?:max|min|deg)(?=\}\s?\())\s?\}"
)
_UPRIGHT_LETTER = re.compile(r"\\text\{\s?([eid])\s?\}(?!\s?\\text)")
_TEXT_NUMBER = re.compile(r"\\text\{\s?([-+\d.,/:\s]+)\}")
_TEXT_LEADING_NUMBER = re.compile(r"\\text\{\s?([-+]?\d[\d,]*(?:\.\d+)?)(?![\d:/.,-])\s?(?=[^\s})])")
_TEXT_EMPTY = re.compile(r"\\text\{\s*\}")
_TEXT_TEXT = re.compile(r"(\\text\{[^{}]*)\}\s?\\text\{")
_TEXT_JOIN = re.compile(r"\\text\{([^{}()]*?)(?<![A-Za-z])(and|or)(?![A-Za-z])([^{}()]*)\}")
_TEXT_POWER = re.compile(r"(\\text\{[^{}]*\^)\{\s?(-?\d+)\s?\}")
_ITEM = r"[^\W\d_]+(?:[ -][^\W\d_]+)?"
_TEXT_LIST = re.compile(
    rf"\\text\{{\s?(?!(?:yes|no|true|false),){_ITEM}(?:,\s?{_ITEM})*,?\s?\}}(?:\s?(?:and|or)\s?\\text\{{\s?{_ITEM}\s?\}})?",
    re.IGNORECASE,
)
_TEXT_COMMA = re.compile(r",\s?(?=[^\W\d_])")
_INFIX = re.compile(r"\{([^{}]*)\\(choose|over)(?![A-Za-z])([^{}]*)\}")
_COMMAND_WITH_ARGUMENTS = re.compile(r"\\(frac|[dtc]frac|sqrt|binom|[dt]binom)(?![A-Za-z])")
_LONG_RADICAND = re.compile(r"\\sqrt\s?(\d{2,})(?![\d.,])")
"""A number as the argument of `\\sqrt` without braces, of which TeX would take the first digit alone."""
_SCRIPT_SPACE = re.compile(r"\s?([\^_])\s?")
_SCRIPT_FRACTION = re.compile(r"([\^_])\s?(\\frac\{[^{}]*\}\{[^{}]*\}|\\sqrt\{[^{}]*\})")
_NEGATIVE_POWER = re.compile(
    r"\\text\{[^{}]*\}|(?<=[A-Za-z0-9)}])\^\s?-\s?(\d+(?:\.\d+)?|[A-Za-z])"
    r"(?!\d|\.(?!\s?\Z)|\s?(?:(?!(?:and|or)(?![A-Za-z]))[A-Za-z]|[/(^_!°{]"
    r"|\\(?!(?:cdot|times|text|land|lor|leq|geq|neq|approx|end|right)(?![A-Za-z]))[A-Za-z]))"
)
r"""A negative power without braces, as in x^-1, unless what follows may belong to it, as in e^-2x and x^-1/2.

Powers of units in `\text` have no braces.
"""
_SYSTEM = re.compile(r"\A(?:\\\{\s?)?\\begin\{(cases|array)\}(?:\{[lcr]?\})?([^&]*)\\end\{\1\}\Z")
_ROW = re.compile(r"\s?(\\?[A-Za-z]+(?:_(?:\w|\{\w+\}))?'*(?:\([A-Za-z, ]*\))?)\s?=([^=<>]+)")
"""A row of a system of equations that is solved for its names: x = 5, f(x) = x^2."""
_BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_NO_VALUE = re.compile(
    r"[,;]|\\(?:text|[lg]eq?|neq|in|approx|quad|lor|land)(?![A-Za-z])|(?<![A-Za-z\\])(?:(?:if|or|and|for)(?![A-Za-z])|[A-Za-z]{4})"
)
_SYNONYMS = {
    re.compile(pattern): canonical
    for pattern, canonical in (
        (r"\^\s?\{\s?\\circ\s?([CF])\s?\}", r"°\1"),
        (r"\^\s?\{\s?\\(?:circ|degree)\s?\}|\^\s?\\circ(?![A-Za-z])\s?|\^?\s?\\(?:text)?degree(?![A-Za-z])", "°"),
        (r"\\(?:leq?|leqslant|leqq)(?![A-Za-z])|<\s?=|=<", r"\\leq "),
        (r"\\(?:geq?|geqslant|geqq)(?![A-Za-z])|>\s?=", r"\\geq "),
        (r"\\neq?(?![A-Za-z])|!=|\\not\s?=", r"\\neq "),
        (r"\\lt(?![A-Za-z])|&lt;", "<"),
        (r"\\gt(?![A-Za-z])|&gt;", ">"),
        (r"\\(?:approx|approxeq|simeq|doteq)(?![A-Za-z])|~=", r"\\approx "),
        (r"\\(?:varnothing|empty)(?![A-Za-z])|\\\{\s?\\\}", r"\\emptyset "),
        (r"\\(?:lbrace)(?![A-Za-z])", r"\\{"),
        (r"\\(?:rbrace)(?![A-Za-z])", r"\\}"),
        (r"\\(?:langle|lparen)(?![A-Za-z])", "("),
        (r"\\(?:rangle|rparen)(?![A-Za-z])", ")"),
        (r"\\lbrack(?![A-Za-z])", "["),
        (r"\\rbrack(?![A-Za-z])", "]"),
        (r"\\[lr]?vert(?![A-Za-z])", "|"),
        (r"(?:\\text\{\s?)?(?<![A-Za-z])(?:[Nn]egative|[Mm]inus)\sinfinity(?![A-Za-z])(?:\s?\})?", r"-\\infty "),
        (
            r"\A\\text\{\s?(?:[Nn]egative|[Mm]inus)\s?\}\s?(?=[\d.]|\\frac|\\sqrt)|\A(?:[Nn]egative|[Mm]inus)\s(?=[\d.]|\\frac)",
            "-",
        ),
        (r"\A\\text\{\s?(?:[Nn]egative|[Mm]inus)\s(\d[\d.,]*)\s?\}", r"-\1"),
        (r"\A\\text\{\s?(?:[Nn]egative|[Mm]inus)\s(\d[\d.,]*)\s(?=[A-Za-z])", r"-\1 \\text{"),
        (r"\\text\{\s?[Ii]nfinity\s?\}", r"\\infty "),
        (r"\\(?:infin|infty)(?![A-Za-z])|(?<![A-Za-z\\])(?:[Ii]nfinity|inf)(?![A-Za-z])", r"\\infty "),
        (r"\+\s?\\infty", r"\\infty "),
        (r"\\(?:imath|jmath)(?![A-Za-z])", "i"),
        (r"\\(?:ldots|dots|cdots|dotsc|dotsb)(?![A-Za-z])|…|\.{3,}", r"\\ldots "),
        (r"\\colon(?![A-Za-z])", ":"),
        (r"\\ast(?![A-Za-z])", "*"),
        (r"\*\*", "^"),
        (r"\\div(?![A-Za-z])", "/"),
        (r"\\(?:backslash)(?![A-Za-z])", r"\\setminus "),
        (r"\\(?:wedge|land)(?![A-Za-z])|\\&", r"\\land "),
        (r"\\(?:vee|lor)(?![A-Za-z])", r"\\lor "),
        (r"\\(sin|cos|tan|sinh|cosh|tanh|cot|sec|csc)\s?\^\s?(?:\{\s?-\s?1\s?\}|-\s?1(?!\d))", r"\\arc\1 "),
        (r"\\(sin|cos|tan)\s?\^\s?(\d)(?=[A-Za-z])", r"\\\1^{\2} "),
        (r"\\log\s?_\s?\{?\s?e\s?\}?(?![A-Za-z])", r"\\ln "),
        (r"\\log\s?_\s?(10(?!\d)|\w)", r"\\log_{\1} "),
        (r"\\dot\s?\{?(\d)\}?(\d*)\\dot\s?\{?(\d)\}?", r"\\overline{\1\2\3}"),
        (r"(?<=\d)\s?(?:\\text\{\s?to\s?\}|\bto\b)\s?(?=\d)", ":"),
        (r"[.,;:]+\s?(?=\}\Z)", ""),
        (r"\\lg(?![A-Za-z])", r"\\log_{10} "),
        (r"\\mathds?\{|\\Bbb\s?\{|\\mathbb\s?\{", r"\\mathbb{"),
        (r"\\Reals?(?![A-Za-z])|\\R(?![A-Za-z])", r"\\mathbb{R}"),
        (r"\\prime(?![A-Za-z])(?:\s(?=\\prime))?", "'"),
        (r"\^\s?(?:\{\s?('+)\s?\}|('+))", r"\1\2"),
        (r"(?<![A-Za-z\\])(sqrt|sin|cos|tan|log|ln|exp|pi|arcsin|arccos|arctan)(?![A-Za-z])", r"\\\1"),
        (r"\\sqrt\s?\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"(?<=[A-Za-z0-9)}])\^\s?\(([^()]*)\)", r"^{\1}"),
        (r"\\(max|min|gcd)\s?\\\{([^{}|:]*)\\\}", r"\\\1(\2)"),
    )
}
_MARKDOWN = re.compile(r"(\*\*|__|\*|_|`+|\")(.*)\1", re.DOTALL)
_BOLD = re.compile(r"(?<![\w)}\]])\*\*([^*]+)\*\*(?![\w({\\])")
_OPERATION = re.compile(r"(\\(?:cup|cap|setminus)(?![A-Za-z]))")
_INTERVAL = re.compile(r"\\sqrt\[[^\[\]]*\]|(?P<left>[(\[\]])(?P<ends>[^\[\](),;]*[,;][^\[\](),;]*)(?P<right>[)\[\]])")
_LEADING = re.compile(r"\A(?:(?:=(?!=)|\\approx(?![A-Za-z])|\\implies|\\therefore|\\Rightarrow|[:,;])\s?)+")
_TRAILING = re.compile(r"(?:\s|[.,;:]|\\\\|\\(?=\Z))+\Z")


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """Return the canonical spelling of `text`, the same for all texts that look alike."""
    text = _DELIMITER.sub(" ", _without_unicode(text))
    if "\\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    text = _without_markdown(text.strip())
    text = _BOLD.sub(r"\1", _without_dollars(text))
    text = _DIGIT_GROUPS.sub(lambda number: _GROUP_MARKS.sub("", number[0]), text)
    text = _ROW_GAP.sub(r"\1", _NO_LOOKS.sub("", text))
    text = " ".join(_SPACE.sub(" ", text.replace("{,}", ",")).split())
    text = _without_fonts(text)
    for pattern, replacement in _SYNONYMS.items():
        text = pattern.sub(replacement, text)
    text = _SYSTEM.sub(_system, text)
    text = _NEGATIVE_POWER.sub(lambda power: f"^{{-{power[1]}}}" if power[1] else power[0], text)
    text = _INFIX.sub(lambda part: f"\\{'binom' if part[2] == 'choose' else 'frac'}{{{part[1]}}}{{{part[3]}}}", text)
    text = _SCRIPT_SPACE.sub(r"\1", _LONG_RADICAND.sub(r"\\sqrt{\1}", text))
    text = _SCRIPT_FRACTION.sub(r"\1{\2}", _with_arguments(_CELL.sub(r" \1 ", text)))
    return _with_round_ends(_bare(" ".join(text.split())))


def _system(system: re.Match[str]) -> str:
    """Return the rows of a system in which each states the value of another name; any other `system` is returned unchanged."""
    rows = [row for row in system[2].split("\\\\") if row.strip()]
    equations = [_ROW.fullmatch(row) for row in rows]
    names = {row[1] for row in equations if row and not _NO_VALUE.search(_BRACKETED.sub("", row[2]))}
    return system[2] if rows and len(names) == len(rows) else system[0]


def _with_round_ends(text: str) -> str:
    """Return `text` with parentheses at open ends of intervals: ]3, 5] becomes (3, 5]."""
    if "[" not in text and "]" not in text:
        return text
    pieces = _OPERATION.split(text)
    for place, piece in enumerate(pieces):
        if not _closes_in_order(piece):
            pieces[place] = _INTERVAL.sub(_with_round_end, piece)
    return "".join(pieces)


def _with_round_end(interval: re.Match[str]) -> str:
    """Return `interval` with parentheses at its open ends."""
    if interval["ends"] is None:
        return interval[0]
    left, right = "[" if interval["left"] == "[" else "(", "]" if interval["right"] == "]" else ")"
    return f"{left}{interval['ends']}{right}"


def _closes_in_order(text: str) -> bool:
    """Return whether the square brackets are balanced."""
    depth = 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if depth < 0:
            return False
    return depth == 0


def _bare(text: str) -> str:
    """Return `text` without outer braces and bold marks and without stray punctuation at both ends."""
    while (shorter := _without_markdown(_LEADING.sub("", _TRAILING.sub("", _unbraced(text)))).strip()) != text:
        text = shorter
    return text


def _without_unicode(text: str) -> str:
    """Return `text` with LaTeX commands for mathematical characters."""
    if text.isascii():
        return text
    text = _SCRIPT.sub(_script, _INVISIBLE.sub("", text))
    text = "".join(_fraction(character) for character in text)
    text = unicodedata.normalize("NFKC", text.replace("∘", "°").replace("º", "°").replace("˚", "°").replace("′", "'"))
    text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    text = _ROOT.sub(lambda root: f"{_ROOTS[root[1]]}{{{root[2].strip('(){}')}}}", text)
    text = _GREEK_MU.sub(r"\\mu ", text)
    return text.translate(_SYMBOLS)


def _script(script: re.Match[str]) -> str:
    """Return the LaTeX of superscript or subscript characters."""
    plain = unicodedata.normalize("NFKC", script[0]).replace("\u2212", "-").replace("ˣ", "x")
    return f"{'^' if script[1] else '_'}{{{plain}}}"


def _fraction(character: str) -> str:
    """Return the LaTeX of a fraction character; any other character is returned unchanged."""
    decomposition = unicodedata.decomposition(character)
    if not decomposition.startswith("<fraction>"):
        return character
    top, _, bottom = unicodedata.normalize("NFKC", character).partition("\u2044")
    return f"\\frac{{{top}}}{{{bottom}}}" if bottom else character


def _without_markdown(text: str) -> str:
    """Return `text` without emphasis, code marks or quotes around the whole of it."""
    match = _MARKDOWN.fullmatch(text)
    return match[2].strip() if match and match[1] not in match[2] else text


def _without_dollars(text: str) -> str:
    """Return `text` without the dollar signs that delimit mathematics; an unpaired one is a currency."""
    return _DOLLAR.sub("" if len(_DOLLAR.findall(text)) % 2 == 0 else r"\\$", text)


def _without_fonts(text: str) -> str:
    """Return `text` with `\\text` for every upright font; numbers, functions and the constants e and i lose their font."""
    if "\\" not in text:
        return text
    text = _UPRIGHT.sub(r"\\text", text)
    text = _FUNCTION.sub(r"\\\1 ", text)
    text = _UPRIGHT_LETTER.sub(r"\1", text)
    text = _TEXT_NUMBER.sub(r" \1 ", text)
    text = _TEXT_LEADING_NUMBER.sub(r" \1 \\text{", text)
    while (shorter := _TEXT_POWER.sub(r"\1\2", text)) != text:
        text = shorter
    text = _TEXT_NUMBER.sub(r" \1 ", _TEXT_JOIN.sub(r"\\text{\1} \2 \\text{\3}", text))
    if "," in text and _TEXT_LIST.fullmatch(text):
        text = _TEXT_COMMA.sub(r"}, \\text{", text).replace(",}", "}").replace(", }", "}")
    return _TEXT_EMPTY.sub(" ", _TEXT_TEXT.sub(r"\1 ", text)).strip()


def _with_arguments(text: str) -> str:
    """Return `text` with braces around the arguments of `\\frac`, `\\binom` and `\\sqrt`, which TeX reads as single tokens."""
    for command in reversed(list(_COMMAND_WITH_ARGUMENTS.finditer(text))):
        name, place, arguments = command[1].lstrip("dtc"), command.end(), ""
        if name == "sqrt" and (root := re.compile(r"\s?\[([^\[\]]*)\]").match(text, place)):
            arguments, place = f"[{root[1].strip()}]", root.end()
        for _ in range(1 if name == "sqrt" else 2):
            argument, place = _argument(text, place)
            arguments += f"{{{argument}}}"
        text = text[: command.start()] + f"\\{name}{arguments}" + text[place:]
    return text


def _argument(text: str, place: int) -> tuple[str, int]:
    """Return the token or group of `text` at `place`, without its braces, and where it ends."""
    while place < len(text) and text[place] == " ":
        place += 1
    if place == len(text):
        return "", place
    if text[place] == "{":
        end = closing_bracket(text, place)
        return text[place + 1 : end].strip(), min(end + 1, len(text))
    command = re.compile(r"\\[A-Za-z]+|\\?.", re.DOTALL).match(text, place)
    if command is None:
        return "", place
    end = command.end()
    if command[0] in ("\\frac", "\\binom", "\\sqrt", "\\text"):  # these already have braces: the rightmost command comes first
        while end < len(text) and text[end] in "{[":
            end = closing_bracket(text, end) + 1
    return text[place:end], min(end, len(text))


def closing_bracket(text: str, place: int) -> int:
    """Return where the bracket at `place` closes, or the end of the text if it does not."""
    opening, depth = text[place], 0
    closing = {"{": "}", "[": "]", "(": ")"}[opening]
    for index in range(place, len(text)):
        depth += (text[index] == opening) - (text[index] == closing)
        if depth == 0:
            return index
    return len(text)


def _unbraced(text: str) -> str:
    """Return `text` without braces that enclose no argument."""
    place = 0
    while (place := text.find("{", place)) >= 0:
        before, end = text[:place].rstrip()[-1:], closing_bracket(text, place)
        if before.isalnum() or before in tuple("\\}]^_*") or end == len(text) or text[end + 1 : end + 2] in tuple("{^_"):
            place += 1
        else:
            text = (text[:place] + text[place + 1 : end] + text[end + 1 :]).strip()
    return text
