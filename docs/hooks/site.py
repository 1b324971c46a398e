"""Extensions of the site: formulas as MathML, and links to files of the repository as names."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?!docs/)[^)]*\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace links to files outside docs/ by their names, because the site has only the documentation."""
    return _OUTSIDE.sub(r"`\1`", markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Convert formulas to MathML, which browsers show without a script."""
    content = _INLINE.sub(lambda match: convert(html.unescape(match[1])), content)
    return _DISPLAY.sub(lambda match: convert(html.unescape(match[1]), display="block"), content)
