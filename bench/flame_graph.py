"""Draw where the Python around the tokens takes its time: a flame graph of tandem on engines that compute nothing.

    python -m bench.flame_graph [FILE]     draws FILE (docs/images/exchange.png) from the samples of py-spy

The roots are a step of an engine, and the rollout actor's callbacks. Samples of threads that wait are left out.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.engines import engine_pair
from bench.exchange import HEADLINE, NULL_ENGINE, at_point, workload
from bench.modes import tandem
from launch.figures import COLORS, white_figure

PICTURE = Path("docs/images/exchange.png")
REPEATS = 60
WRITE = "--write"
"""The option of the process that is sampled."""
STARTS = {"EngineCoreProc._process_engine_step": "a step of an engine", "Runner.run": "the rollout actor"}
"""The frames at whose calls the graph starts, and the names of its roots."""
NARROWEST = 0.003
"""The smallest share of all samples that is drawn."""
SHORTEST, LETTERS = 5, 230
"""The letters of the shortest label that is cut, and those that fit in the whole width."""
OURS, VLLM, OTHERS = COLORS[0], COLORS[1], "#c8c8c8"
KINDS = {"this project": OURS, "vLLM": VLLM, "libraries": OTHERS}
"""The legend: each owner of functions and its color."""


@dataclass
class Frame:
    """A function in the stacks below one root: its samples, with and without those of its calls."""

    name: str
    """`FUNCTION (FILE)`"""
    samples: int = 0
    calls: dict[str, Frame] = field(default_factory=dict)

    def add(self, stack: Sequence[str], samples: int) -> None:
        """Add `samples` of a stack of calls below this frame."""
        self.samples += samples
        if stack:
            self.calls.setdefault(stack[0], Frame(stack[0])).add(stack[1:], samples)

    @property
    def color(self) -> str:
        """Return the color of the package that the function belongs to."""
        _, _, file = self.name.partition(" (")
        return OURS if file.startswith(("actors/", "tandem/")) else VLLM if file.startswith("vllm/") else OTHERS

    @property
    def ink(self) -> str:
        """Return the color of the label."""
        return "black" if self.color == OTHERS else "white"

    @property
    def label(self) -> str:
        """Return the name of the function without its class and file."""
        function = self.name.partition(" (")[0]
        return function if function in STARTS.values() else function.rpartition(".")[2]


async def write() -> None:
    """Write the rollouts of the first point of `bench.exchange` in tandem, again and again."""
    work = workload()
    async with engine_pair(work.specs, NULL_ENGINE) as pair:
        rollouts = await at_point(pair, work, HEADLINE)
        for repeat in range(REPEATS):
            await tandem(pair, rollouts, f"tandem-{repeat}")


def sampled() -> list[str]:
    """Return the stacks of a process that writes and of its engines as py-spy prints them: `FRAME;FRAME;... SAMPLES`."""
    # Stopping the processes for each sample, py-spy can leave one stopped.
    options = ["--subprocesses", "--gil", "--nolineno", "--nonblocking", "--rate", "200", "--format", "raw"]
    with TemporaryDirectory() as folder:
        stacks = Path(folder, "stacks")
        command = [sys.executable, "-m", "bench.flame_graph", WRITE]
        subprocess.run(["py-spy", "record", *options, "--output", str(stacks), "--", *command], check=True)
        return stacks.read_text(encoding="utf-8").splitlines()


def roots(lines: Iterable[str]) -> list[Frame]:
    """Return the roots of the stacks in `lines`, without those of the start."""
    trees = {start: Frame(name) for start, name in STARTS.items()}
    for line in lines:
        stack, _, samples = line.rpartition(" ")
        frames = stack.split(";")
        for start, root in trees.items():
            at = next((index for index, frame in enumerate(frames, 1) if frame.startswith(start)), None)
            if at is not None and not any("bench/" in frame or "importlib" in frame for frame in frames[at:]):
                root.add(frames[at:], int(samples))
    return list(trees.values())


def draw(trees: Sequence[Frame]) -> Figure:
    """Return a flame graph that hangs from `trees`: the width of a function is its share of all samples."""
    figure = white_figure(14, 7)
    axes, every, left = figure.subplots(), sum(tree.samples for tree in trees), 0.0
    for tree in trees:
        left = _draw_frame(axes, tree, every, left, 0)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_axis_off()
    legend = [Patch(color=color, label=kind) for kind, color in KINDS.items()]
    figure.legend(handles=legend, loc="outside lower center", ncols=len(legend), frameon=False, fontsize=11)
    return figure


def _draw_frame(axes: Axes, frame: Frame, every: int, left: float, depth: int) -> float:
    """Draw `frame` and its calls from `left` on; return its right edge."""
    share = frame.samples / every
    if share < NARROWEST:
        return left + share
    axes.barh(depth, share, left=left, height=0.95, color=frame.color, edgecolor="white", linewidth=0.5)
    label, letters = f"{frame.label} {share:.0%}", int(share * LETTERS)
    if len(label) > letters:
        label = frame.label if len(frame.label) <= letters else f"{frame.label[: letters - 1]}…"
    if letters >= SHORTEST:
        axes.text(left + share / 2, depth, label, ha="center", va="center", fontsize=6.5, color=frame.ink)
    edge = left
    for call in frame.calls.values():
        edge = _draw_frame(axes, call, every, edge, depth + 1)
    return left + share


def main() -> None:
    """Sample and draw, or write in the process that is sampled."""
    if sys.argv[1:] == [WRITE]:
        uvloop.run(write())
    else:
        draw(roots(sampled())).savefig(Path(*sys.argv[1:2] or [str(PICTURE)]))


if __name__ == "__main__":
    main()
