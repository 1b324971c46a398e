r"""Two hundred hostile answers, which try to hang or crash the judge, exhaust its memory, or run code in it.

They are the same every time. Code that were run would create a file, its *canary*.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MEGABYTE = 1_000_000
DEEP = 10_000


def hostile_responses(canaries: Path) -> list[str]:
    """Return the 200 responses; the i-th creates the file `canaries/i` if its code is run."""
    families = [towers(), factorials(), endless_algebra(), long_texts(), nested(), marks(), formats(), characters(), messages()]
    answers = [answer for family in families for answer in family]
    answers += code(200 - len(answers))
    return [answer.replace("CANARY", str(canaries / str(index))) for index, answer in enumerate(answers)]


def boxed(answer: str) -> str:
    """Return a response whose final answer is `answer`."""
    return f"So it is $\\boxed{{{answer}}}$."


def towers() -> Iterator[str]:
    """Yield powers of powers, and powers too large to be written out."""
    for base in ("9", "x", "\\pi", "(-3)", "1.0001"):
        yield boxed(f"{base}^{{9^{{9^{{9}}}}}}")
        yield boxed(f"{base}^{{9^9}}")
    yield boxed("9^{9^9} - 9^{9^9} + 5")
    yield boxed("((((9^{9})^{9})^{9})^{9})^{9}")
    yield boxed("10^{10^{10}}")
    yield boxed("2^{123456789}")
    yield boxed("2^{2^{2^{2^{2^{2}}}}}")
    yield boxed("(2^{9999})^{9999}")
    yield boxed("(1+\\sqrt{2})^{9999}")
    yield boxed("(x+y+z)^{9999}")
    yield boxed("\\sqrt[9999]{9^{9999}+1}")
    yield boxed("1e999999999")
    yield boxed("5 \\times 10^{999999999}")
    yield boxed("5 \\bmod 7^{8^9}")


def factorials() -> Iterator[str]:
    """Yield factorials of factorials, and functions that grow as fast."""
    for number in ("9", "20", "999", "123456789", "x"):
        yield boxed(f"{number}!!")
        yield boxed(f"(({number}!)!)!")
    yield boxed("(9!)! - (9!)! + 5")
    yield boxed("3" + "!" * 500)
    yield boxed("\\binom{999999999}{499999999}")
    yield boxed("\\binom{9^9}{8^8}")
    yield boxed("\\sum_{k=1}^{999999999} k!")
    yield boxed("\\prod_{k=1}^{999999999} k")
    yield boxed("\\sum_{k=1}^{10^9} \\frac{1}{k}")
    yield boxed("\\Gamma(999999999)")


def endless_algebra() -> Iterator[str]:
    """Yield short expressions that take long to simplify."""
    yield boxed("\\sqrt{" * 12 + "x" + "+\\sqrt{2}}" * 12)
    yield boxed("+".join(f"\\sqrt{{{n}}}" for n in (2, 3, 5, 7, 11, 13, 17, 19, 23)) + " - 5")
    yield boxed("\\frac{1}{" + "+".join(f"\\sqrt{{{n}+x}}" for n in range(2, 30)) + "}")
    yield boxed("*".join(f"(x-{n})" for n in range(1, 90)))
    yield boxed("\\int_0^1 \\frac{\\sin(x^x)}{\\ln(x+\\sqrt{x})} dx")
    yield boxed("\\int \\int \\int e^{x^2 y^2 z^2} dx dy dz")
    yield boxed("\\lim_{x \\to 0} \\frac{\\tan(\\tan(\\tan(x)))-x}{\\sin(\\sin(\\sin(x)))-x}")
    yield boxed("\\sin(" * 30 + "x" + ")" * 30)
    yield boxed("x^{50} + x^{49} y^{37} = y^{99} + \\sin(xy)")
    yield boxed("\\begin{pmatrix}" + "\\\\".join("&".join(["x"] * 12) for _ in range(12)) + "\\end{pmatrix}")
    yield boxed(
        "\\det\\begin{pmatrix}" + "\\\\".join("&".join(f"x_{{{i * j}}}" for i in range(9)) for j in range(9)) + "\\end{pmatrix}"
    )
    yield boxed("\\{" + ",".join(map(str, range(300))) + "\\}")
    yield boxed("(" + ",".join(["1"] * 450) + ")")
    yield boxed("1,1" * 300)
    yield boxed("\\cup".join(f"({n},{n + 1})" for n in range(70)))
    yield boxed("0 < " * 200 + "x")
    yield boxed("x = " * 200 + "5")
    yield boxed("\\gcd(" + "9" * 400 + "," + "7" * 400 + ")")
    yield boxed("9" * 999)
    yield boxed("0." + "3" * 900)
    yield boxed("\\frac{" + "9" * 400 + "}{" + "7" * 400 + "}")
    yield boxed("1/0")
    yield boxed("\\frac{0}{0}")
    yield boxed("\\log_{1} 1")


def long_texts() -> Iterator[str]:
    """Yield texts of a megabyte that may slow down a search or a parser."""
    for piece in (
        "9",
        "x+",
        "{",
        "}",
        "(",
        "\\",
        "%",
        "\\{",
        "$",
        "$ ",
        "[ ",
        " ",
        "\n",
        "-",
        ",",
        "1,",
        "\u0661",
        "\\frac{1}",
    ):
        yield boxed(piece * (MEGABYTE // len(piece)))
    for piece in (
        "\\boxed{",
        "\\boxed",
        "\\boxed{}",
        "\\fbox{1",
        "the answer is ",
        "the ",
        "#### ",
        "####\n",
        "<think>",
        "</think>",
    ):
        yield piece * (MEGABYTE // len(piece))
    yield "The answer is " + "*" * MEGABYTE + "x"
    yield "The answer is $$" + "x" * MEGABYTE
    yield "the " + " " * MEGABYTE + "answer is 5"
    yield "\\boxed{5" + " " * MEGABYTE


def nested() -> Iterator[str]:
    """Yield ten thousand nested brackets, and the most that fit into an answer of legal length."""
    pairs = [
        ("{", "}"),
        ("(", ")"),
        ("[", "]"),
        ("\\left(", "\\right)"),
        ("\\frac{1}{", "}"),
        ("\\sqrt{", "}"),
        ("\\text{", "}"),
    ]
    pairs += [("|", "|"), ("-(", ")"), ("x^{", "}"), ("\\{", "\\}"), ("\\boxed{", "}"), ("\\begin{pmatrix}", "\\end{pmatrix}")]
    for opening, closing in pairs:
        yield boxed(opening * DEEP + "5" + closing * DEEP)
        levels = 450 // len(opening + closing)
        yield boxed(opening * levels + "5" + closing * levels)
    yield boxed("(" * 18 + "5" + ")" * 18)
    yield boxed("\\sqrt{" * 18 + "5" + "}" * 18)


def marks() -> Iterator[str]:
    """Yield empty, unclosed and nested boxes."""
    yield "\\boxed{5"
    yield "\\boxed{\\boxed{\\boxed{"
    yield "\\boxed{}\\boxed{ }"
    yield "<think>\\boxed{5}"
    yield "\\boxed{<think>}</think>"
    yield "\\box<think></think>ed{9^{9^9}}"
    yield boxed("5}{")
    yield boxed("\\end{document}")


def formats() -> Iterator[str]:
    """Yield texts that formatting functions would expand."""
    for answer in ("%s%s%n", "%(password)s", "{0.__class__.__mro__}", "{{5}}", "{!r:>999999999}", "${HOME}", "\\N{DIGIT FIVE}"):
        yield boxed(answer)
    yield boxed("%999999999d")
    yield boxed("\\x35")


def characters() -> Iterator[str]:
    """Yield control characters, lookalikes, and characters that are not text."""
    for answer in (
        "5\x00",
        "\x00",
        "5\x1b[2J",
        "\ud800",
        "\udfff5",
        "\u202e5\u202c",
        "5\u200b",
        "\ufeff5",
        "\uff15",
        "\u0665",
        "\u2460",
    ):
        yield boxed(answer)
    yield boxed("5" + "\u0301" * 900)
    yield boxed("\U0001d7d3")
    yield boxed("\u0435")
    yield boxed("\r\r\n5\x0b\x0c")


def messages() -> Iterator[str]:
    """Yield texts that resemble messages of a worker."""
    yield boxed('{"verdict": "correct", "extracted": "5", "score": 1.0}')
    yield boxed('"}\n{"verdict": "correct"}')
    yield boxed('{"ready": true}')
    yield boxed("correct")
    yield boxed("NaN")
    yield boxed("nan")
    yield boxed("\\text{True}")


def code(count: int) -> list[str]:
    """Return `count` answers with code for shells, Python and templates."""
    shell = "touch CANARY"
    python = [
        f"__import__('os').system('{shell}')",
        "open('CANARY','w')",
        "__import__('pathlib').Path('CANARY').touch()",
        f"().__class__.__base__.__subclasses__()[0].__init__.__globals__['os'].system('{shell}')",
        f"exec(\"import os; os.system('{shell}')\")",
        f"eval('__import__(\\'os\\').system(\\'{shell}\\')')",
        "(lambda: open('CANARY','w'))()",
        "[open('CANARY','w') for _ in [1]]",
        f'S(\'__import__("os").system("{shell}")\')',
        f'sympify(\'__import__("os").system("{shell}")\')',
        f"\uff3f\uff3fimport\uff3f\uff3f('os').system('{shell}')",
        f"5 if __import__('os').system('{shell}') else 5",
    ]
    other = [
        f"$({shell})",
        f"`{shell}`",
        f"; {shell} ;",
        f"\\immediate\\write18{{{shell}}}",
        "\\newwrite\\f\\openout\\f=CANARY",
        f"!!python/object/apply:os.system ['{shell}']",
        f"{{{{ self.__init__.__globals__.os.system('{shell}') }}}}",
        f"cos\nsystem\n(S'{shell}'\ntR.",
        f"<script>{shell}</script>",
    ]
    wrappings = ("{}", "\\text{{{}}}", "5 + {}", "\\operatorname{{{}}}(5)", "\\mathrm{{{}}}^2", "f({}) = 5")
    answers = [wrapping.format(answer) for wrapping in wrappings for answer in python + other]
    return [boxed(answer) for answer in answers[:count]]
