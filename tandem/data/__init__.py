"""The sources of problems, their split and their order, and the prompts made of them."""

from tandem.data.order import Sampler
from tandem.data.problems import ProblemSet, load_problems
from tandem.data.prompts import encode, prompt
from tandem.data.split import held_out

__all__ = ["ProblemSet", "Sampler", "encode", "held_out", "load_problems", "prompt"]
