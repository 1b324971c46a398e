"""Where problems come from."""

from tandem.data.problems import ProblemSet, Sampler, held_out, load_problems
from tandem.data.prompts import encode, prompt

__all__ = ["ProblemSet", "Sampler", "encode", "held_out", "load_problems", "prompt"]
