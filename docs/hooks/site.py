"""What the site needs beyond Markdown: formulas as MathML, and links to files of the repository as their names."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?!docs/)[^)]*\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links that lead out of docs/ become plain names: the site has the documentation only."""
    return _OUTSIDE.sub(r"`\1`", markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Formulas, which browsers show by themselves as MathML: no script is fetched for them."""
    content = _INLINE.sub(lambda match: convert(html.unescape(match[1])), content)
    return _DISPLAY.sub(lambda match: convert(html.unescape(match[1]), display="block"), content)
