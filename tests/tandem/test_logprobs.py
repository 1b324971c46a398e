from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tandem.logprobs import token_logprobs
from tandem.models.logit_transform import IDENTITY, LogitTransform

VOCABULARY, HIDDEN, TOKENS = 17, 6, 11


def inputs(dtype: torch.dtype = torch.float64, tokens: int = TOKENS) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, HIDDEN, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(0, VOCABULARY, (tokens,), generator=generator)


def plain(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, temperature: float, transform: LogitTransform
) -> tuple[Tensor, Tensor]:
    logits = transform.scale * (hidden @ weight.T + bias)
    if transform.softcap is not None:
        logits = torch.tanh(logits / transform.softcap) * transform.softcap
    distribution = torch.distributions.Categorical(logits=logits / temperature)
    return distribution.log_prob(targets), distribution.entropy()


@settings(deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 25),
    st.sampled_from([1.0, 0.6, 2.0]),
    st.booleans(),
    st.sampled_from([IDENTITY, LogitTransform(0.3), LogitTransform(1.0, 2.5), LogitTransform(1.5, 3.0)]),
)
def test_values_and_gradients_equal_direct_computation(
    tokens: int, chunk: int, temperature: float, biased: bool, transform: LogitTransform
) -> None:
    hidden, weight, targets = inputs(tokens=tokens)
    bias = torch.linspace(-1, 1, VOCABULARY, dtype=torch.float64) * biased
    bias.requires_grad_()
    got, entropy = token_logprobs(hidden, weight, targets, temperature, chunk, bias if biased else None, transform)
    expected, expected_entropy = plain(hidden, weight, bias, targets, temperature, transform)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(entropy, expected_entropy.detach())
    coefficients = torch.arange(1.0, tokens + 1, dtype=torch.float64)
    parameters = (hidden, weight, bias) if biased else (hidden, weight)
    torch.testing.assert_close(
        torch.autograd.grad((got * coefficients).sum(), parameters),
        torch.autograd.grad((expected * coefficients).sum(), parameters),
    )


def test_empty_input_has_zero_gradient() -> None:
    hidden, weight, targets = inputs(tokens=0)
    token_logprobs(hidden, weight, targets, 1.0, 4)[0].sum().backward()
    assert weight.grad is not None and not weight.grad.any()


def test_gradcheck() -> None:
    hidden, weight, targets = inputs()
    assert torch.autograd.gradcheck(lambda h, w: token_logprobs(h, w, targets, 0.7, 4)[0], (hidden, weight))


def test_entropy_carries_no_gradient() -> None:
    assert not token_logprobs(*inputs(), 1.0, 4)[1].requires_grad


def test_bfloat16_inputs_get_float32_softmax() -> None:
    hidden, weight, targets = inputs(torch.bfloat16)
    logprobs, entropy = token_logprobs(hidden, weight, targets, 1.0, 4)
    assert logprobs.dtype == entropy.dtype == torch.float32
    expected = torch.log_softmax((hidden @ weight.T).float(), -1).gather(1, targets[:, None]).squeeze(1)
    torch.testing.assert_close(logprobs, expected)


def test_logits_are_materialized_for_one_chunk_at_most() -> None:
    shapes = list[tuple[int, ...]]()

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = function(*args, **(kwargs or {}))
            shapes.extend(tuple(t.shape) for t in tree_leaves(result) if isinstance(t, Tensor))
            return result

    hidden, weight, targets = inputs()
    with Recorder():
        token_logprobs(hidden, weight, targets, 1.0, 4)[0].sum().backward()
    assert (4, VOCABULARY) in shapes and (TOKENS, VOCABULARY) not in shapes


@pytest.mark.parametrize(("temperature", "chunk"), [(0.0, 4), (1.0, 0)])
def test_invalid_arguments_are_refused(temperature: float, chunk: int) -> None:
    with pytest.raises(ValueError, match="must both be positive"):
        token_logprobs(*inputs(), temperature, chunk)
