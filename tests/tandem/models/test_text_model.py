"""The language model of a multimodal model, saved as a model of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from tandem.config.schema import ConfigError
from tandem.models.loading import load_language_model, load_tokenizer
from tandem.models.text_model import save_text_model
from tandem.models.unusable import UnusableModel
from tests.support import ROOT
from tests.support.builders import SMALL, small_tokenizer

pytestmark = pytest.mark.seconds

TEXT = SMALL | {"vocab_size": 400, "num_hidden_layers": 2}
ENCODER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
IMAGES = ENCODER | {"image_size": 28, "patch_size": 14}
SQUARE = ENCODER | {"image_size": [28, 28], "patch_size": [14, 14]}
LLAMA, CLIP, PIXTRAL = ({"model_type": name} for name in ("llama", "clip_vision_model", "pixtral"))
LINEAR = {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 2}


def save_whole(folder: Path, name: str, **settings: Any) -> Path:
    """Save a random model of the architecture `name` with a tokenizer."""
    torch.manual_seed(0)
    model_class = getattr(hf, name)
    model_class(model_class.config_class(**settings)).save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Gemma3ForConditionalGeneration", {"text_config": TEXT, "vision_config": IMAGES}),
        (
            "Gemma4ForConditionalGeneration",
            {
                "text_config": TEXT | {"vocab_size_per_layer_input": 400, "hidden_size_per_layer_input": 8},
                "vision_config": ENCODER,
            },
        ),
        (
            "Mistral3ForConditionalGeneration",
            {"text_config": {"model_type": "mistral"} | TEXT, "vision_config": PIXTRAL | IMAGES},
        ),
        (
            "Qwen3_5ForConditionalGeneration",
            {"text_config": TEXT | LINEAR | {"num_hidden_layers": 4}, "vision_config": {"depth": 1}},
        ),
        ("LlavaForConditionalGeneration", {"text_config": LLAMA | TEXT, "vision_config": CLIP | IMAGES}),
        (
            "InternVLForConditionalGeneration",
            {
                "text_config": LLAMA | TEXT,
                "vision_config": SQUARE,
            },
        ),
        ("SmolVLMForConditionalGeneration", {"text_config": LLAMA | TEXT, "vision_config": IMAGES}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_language_model_alone_computes_the_same_logits(tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    source, target = save_whole(tmp_path / "whole", name, **settings), tmp_path / "text"
    save_text_model(source, target)
    text = torch.arange(5, 60)[None]
    with torch.no_grad():
        whole = getattr(hf, name).from_pretrained(source)(input_ids=text, use_cache=False).logits
        alone = load_language_model(target, torch.float32)(input_ids=text, use_cache=False).logits
    torch.testing.assert_close(alone, whole)
    assert load_tokenizer(target).encode("3 + 4 = 7") == load_tokenizer(source).encode("3 + 4 = 7")


def test_program_saves_language_model(tmp_path: Path) -> None:
    source = save_whole(
        tmp_path / "whole", "LlavaForConditionalGeneration", text_config=LLAMA | TEXT, vision_config=CLIP | IMAGES
    )
    for folder, code, said in (
        (source / "config.json" / "text", 2, "cannot be written"),
        (tmp_path / "text", 0, f"{tmp_path / 'text'}: LlamaForCausalLM, 17,488 parameters"),
        (tmp_path / "text", 2, f"text_model.py: FOLDER={tmp_path / 'text'} exists already; give another"),
    ):
        ended = subprocess.run(
            [sys.executable, "launch/text_model.py", str(source), str(folder)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == code and said in ended.stdout + ended.stderr and "Traceback" not in ended.stderr, (
            ended.stderr
        )


def test_language_model_alone_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save_whole(
        tmp_path / "whole", "LlavaForConditionalGeneration", text_config=LLAMA | TEXT, vision_config=CLIP | IMAGES
    )
    monkeypatch.setattr(hf.LlamaForCausalLM, "set_output_embeddings", lambda self, head: self.lm_head.to_empty(device="cpu"))
    with pytest.raises(UnusableModel, match="computes other logits alone than within the whole model"):
        save_text_model(source, tmp_path / "text")
    assert not (tmp_path / "text").exists()


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("Qwen3ForCausalLM", TEXT, "model_type=qwen3 is a language model already"),
        (
            "Qwen2VLForConditionalGeneration",
            {"text_config": TEXT, "vision_config": {"depth": 1}},
            "has no class for the language",
        ),
    ],
)
def test_model_whose_language_model_cannot_be_saved_is_refused(
    tmp_path: Path, name: str, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnusableModel, match=reason):
        save_text_model(save_whole(tmp_path / "whole", name, **settings), tmp_path / "text")
    assert not (tmp_path / "text").exists()


def test_language_model_that_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    small = {"text_config": LLAMA | TEXT | {"vocab_size": 100}, "vision_config": CLIP | IMAGES}
    source = save_whole(tmp_path / "whole", "LlavaForConditionalGeneration", **small)
    with pytest.raises(ConfigError, match="MODEL=.*tokenizer"):
        save_text_model(source, tmp_path / "text")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
