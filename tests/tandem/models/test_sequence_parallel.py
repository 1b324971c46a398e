"""Tests of which models ranks may compute together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BloomConfig, Gemma2Config, Gemma3TextConfig, LlamaConfig, PretrainedConfig

from tandem.models.sequence_parallel import check_sequence_parallel, sequence_splits
from tandem.models.unusable import UnusableModel

WIDTHS = {"hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 2}


@given(st.integers(1, 12), st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(2, 16))
def test_ranks_divide_the_heads(keys: int, each: int, size: int) -> None:
    heads = keys * each
    config = LlamaConfig(hidden_size=8 * heads, num_attention_heads=heads, num_key_value_heads=keys)
    try:
        check_sequence_parallel(config, size)
    except UnusableModel as error:
        possible = [int(number) for number in str(error).rsplit("choose one of ", 1)[1].split(", ")]
        assert size not in possible and possible[0] == 1
        assert possible == [*sequence_splits(config)]
    else:
        assert size in sequence_splits(config)
        # Each rank gets equally many heads, and the key heads that those attend with, copies where there are fewer than ranks.
        copies = max(1, size // keys)
        split = [head // copies for head in range(keys * copies)]
        assert heads % size == len(split) % size == 0
        attended = [head // each for head in range(heads)]
        assert [split[head // (heads // len(split))] for head in range(heads)] == attended


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LlamaConfig(**WIDTHS), "it has 8 attention heads, 2 of them for keys; choose one of 1, 2, 4, 8"),
        (BloomConfig(), "models of type bloom cannot be split; choose 1, or one of cohere, cohere2, gemma3_text"),
        (Gemma2Config(**WIDTHS), "models of type gemma2 cannot be split"),
        (
            LlamaConfig(**WIDTHS, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}),
            "rotary embeddings of type dynamic cannot be split",
        ),
        (
            Gemma3TextConfig(
                **WIDTHS,
                rope_parameters={
                    "full_attention": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                },
            ),
            "rotary embeddings of type dynamic cannot be split",
        ),
    ],
)
def test_models_that_cannot_be_split_are_refused(config: PretrainedConfig, message: str) -> None:
    with pytest.raises(UnusableModel, match=message):
        check_sequence_parallel(config, 3)
    check_sequence_parallel(config, 1)
    assert 3 not in sequence_splits(config) and 1 in sequence_splits(config)
