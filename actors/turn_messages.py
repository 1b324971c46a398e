"""How turns travel between engines, and between an engine and the rollout actor: those of many sessions in one message."""

from __future__ import annotations

from typing import Any

import msgspec
from vllm import SamplingParams
from vllm.v1.engine import EngineCoreOutput, EngineCoreRequest
from vllm.v1.request import Request

TURNS = "turns"
"""The id of the request, and of the output, that holds turns in the place of a request's own data."""


class BegunTurn(msgspec.Struct, array_like=True, gc=False):
    """The beginning of a turn of a session that has written before."""

    request_id: str
    tokens: list[int]
    """the other author's, which this one has not read"""
    budget: int
    """the most tokens of the turn"""
    state: tuple[Any, ...]
    """the pen's fields after schedule, seed and author, which are those of the session"""
    retracts: bool = False
    """whether the last token of the author's last turn is not part of the text"""
    sender: str = ""
    """the id of the partner's request, where that passes the turn"""


class WrittenPart(msgspec.Struct, array_like=True, gc=False):
    """The tokens that a session has written since its last part."""

    request_id: str
    tokens: list[int]
    logprobs: list[float]
    reason: int | None
    """vLLM's `FinishReason` where the part ends the turn"""
    passed: bool = False
    """whether the engine sent the pen to the partner's engine"""


# As bytes: vLLM walks through whatever else a request's parameters hold.
_encode = msgspec.msgpack.encode
_begun = msgspec.msgpack.Decoder(list[BegunTurn])
_written = msgspec.msgpack.Decoder(list[WrittenPart])


def encode_turns(turns: list[BegunTurn]) -> bytes:
    """Return `turns` as a message from engine to engine."""
    return _encode(turns)


def decode_turns(message: bytes) -> list[BegunTurn]:
    """Return the turns of a message from another engine."""
    return _begun.decode(message)


def begun_request(turns: list[BegunTurn]) -> EngineCoreRequest:
    """Return the request that begins `turns`."""
    return EngineCoreRequest(
        request_id=TURNS,
        prompt_token_ids=[0],
        mm_features=None,
        sampling_params=SamplingParams(extra_args={TURNS: encode_turns(turns)}),
        pooling_params=None,
        arrival_time=0.0,
        lora_request=None,
        cache_salt=None,
        data_parallel_rank=None,
    )


def begun_turns(request: Request) -> list[BegunTurn] | None:
    """Return the turns that `request` begins; None for any other request."""
    if request.request_id != TURNS:
        return None
    assert request.sampling_params is not None and request.sampling_params.extra_args is not None
    return decode_turns(request.sampling_params.extra_args[TURNS])


def written_output(parts: list[WrittenPart]) -> EngineCoreOutput:
    """Return the output that holds `parts`."""
    return EngineCoreOutput(request_id=TURNS, new_token_ids=[], kv_transfer_params={TURNS: _encode(parts)})


def written_parts(output: EngineCoreOutput) -> list[WrittenPart] | None:
    """Return the parts that `output` holds; None for any other output."""
    if output.request_id != TURNS or output.kv_transfer_params is None:
        return None
    return _written.decode(output.kv_transfer_params[TURNS])
