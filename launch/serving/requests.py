"""The bodies of requests: OpenAI's fields, and those of the schedule."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tandem.config.rollout import MAX_TEMPERATURE, MIN_TEMPERATURE

MAX_SEED = 2**32 - 1
"""The largest seed of a schedule."""
MAX_STOPS = 16
"""The most stop texts of a request."""


def _sampled(temperature: float) -> float:
    if 0 < temperature < MIN_TEMPERATURE:
        raise ValueError(f"give 0, or at least {MIN_TEMPERATURE}")
    return temperature


Temperature = Annotated[float, Field(ge=0, le=MAX_TEMPERATURE), AfterValidator(_sampled)]
Stop = Annotated[str, Field(min_length=1, max_length=1000)]
Zero = Annotated[float, Field(ge=0, le=0)]
"""A setting that is only accepted where it has no effect."""


class StreamOptions(BaseModel):
    """What a stream contains besides the text."""

    model_config = ConfigDict(extra="forbid", strict=True)
    include_usage: bool = False
    """whether the stream ends with the numbers of tokens"""
    include_obfuscation: bool = False


class TextRequest(BaseModel):
    """What both kinds of requests share."""

    model_config = ConfigDict(extra="forbid", strict=True)
    model: str
    """`senior`, `junior` or `team`"""
    n: int = Field(1, ge=1)
    """texts for each prompt"""
    max_tokens: int | None = Field(None, ge=1)
    temperature: Temperature | None = None
    top_p: float | None = Field(None, ge=0.001, le=1)
    top_k: int | None = Field(None, ge=0)
    """sample from the top_k most likely tokens; 0: all tokens"""
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    """determines the first text; the seeds of further texts follow it. Without one the server draws a seed"""
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    schedule: str | dict[str, Any] | None = None
    """for `team`: the schedule's name, or its settings as in `conf/schedule`"""
    user: str | None = None
    metadata: dict[str, Any] | None = None
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None

    @property
    def stops(self) -> list[str]:
        """Return the texts at which the text ends."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


TokenIds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class CompletionRequest(TextRequest):
    """The body of /v1/completions."""

    prompt: str | TokenIds | Annotated[list[str], Field(min_length=1)] | Annotated[list[TokenIds], Field(min_length=1)]
    """a text, or a list of token ids; or a list of several of either"""
    logprobs: Literal[0] | None = None
    """0: the log-probabilities of the written tokens"""
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        """Return the prompts, each a text or token ids."""
        given: Any = self.prompt
        one = isinstance(given, str) or isinstance(given[0], int)
        return [given] if one else given


class TextPart(BaseModel):
    """A part of a message."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)
    role: str
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = None

    @property
    def text(self) -> str:
        """Return the content as one text."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(TextRequest):
    """The body of /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1)
    logprobs: bool | None = None
    """whether to return the log-probabilities of the written tokens"""
    top_logprobs: Literal[0] | None = None
    max_completion_tokens: int | None = Field(None, ge=1)
    """the same as max_tokens"""
