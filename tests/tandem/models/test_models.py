"""Tests of the inspection of models: unusable models are refused at the start, with key, value and remedy."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tandem.authors import load_authors
from tandem.config.learner import LearnerConfig, LoraConfig
from tandem.config.schema import Config, ConfigError
from tandem.models.inspection import inspect_local_models, inspect_model
from tandem.models.zoo.hub import model_directory
from tests.support.builders import SMALL, small_tokenizer
from tests.support.model_files import change, refusal, replaced


def test_inspection_returns_facts_of_usable_model(saved: Path) -> None:
    facts = inspect_model(saved, "model.path=MODEL")
    model = hf.AutoModelForCausalLM.from_pretrained(saved)
    assert facts.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (facts.vocabulary, facts.context, facts.eos_ids) == (400, 4096, (1,))
    assert facts.tokenizer.get_vocab() == small_tokenizer().get_vocab()


def test_layers_to_adapt_that_the_model_does_not_have_are_refused_with_those_it_has(saved: Path) -> None:
    inspect_model(saved, "model.path=MODEL", LearnerConfig(lora=LoraConfig(rank=2, targets=["q_proj", "up_proj"])))
    with pytest.raises(
        ConfigError, match=r"learner.lora.targets=\['lm_head'\]: Qwen3ForCausalLM has no linear layer lm_head below"
    ):
        inspect_model(saved, "model.path=MODEL", LearnerConfig(lora=LoraConfig(rank=2, targets=["lm_head"])))


# Optional files


def test_optional_files_may_be_missing(folder: Path) -> None:
    for name in ("generation_config.json", "chat_template.jinja", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    assert inspect_model(folder, "model.path=MODEL").eos_ids == (1,)


def test_tokenizers_own_end_token_is_the_first(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 0, 1, 5]}', encoding="utf-8")
    assert inspect_model(folder, "model.path=MODEL").eos_ids == (1, 0, 5, 7)


def test_unused_special_token_beyond_embedding_is_accepted(folder: Path) -> None:
    """For example, Gemma 3's token for images."""
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<unused {index}>" for index in range(400 - len(tokenizer))], special_tokens=True)
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    assert inspect_model(folder, "model.path=MODEL").vocabulary == 400


def test_code_of_model_is_never_executed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If transformers also has the model type, its own code is used without a question."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question on the terminal"))
    (folder / "modeling_custom.py").write_text("raise SystemExit('the code was run')")
    change(folder / "config.json", auto_map={"AutoConfig": "modeling_custom.C", "AutoModelForCausalLM": "modeling_custom.M"})
    assert inspect_model(folder, "model.path=MODEL").vocabulary == 400
    change(folder / "config.json", model_type="custom")
    assert "has no model_type=custom, and code that the model brings along (auto_map) is never run" in refusal(folder)
    change(folder / "config.json", model_type="qwen3")
    change(folder / "tokenizer_config.json", tokenizer_class="Own", auto_map={"AutoTokenizer": ["modeling_custom.T", None]})
    with suppress(ConfigError):
        inspect_model(folder, "model.path=MODEL")


# Configurations


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"model_type": "qwen99"}, f"transformers {hf.__version__} has no model_type=qwen99, and code that the model "),
        ({"model_type": 3}, f"transformers {hf.__version__} has no model_type=3, and "),
        ({"model_type": None}, "config.json cannot be used: KeyError: 'model_type'"),
        ({"architectures": ["Qwen3Model"]}, "architectures=['Qwen3Model'] in config.json, but a language model of "),
        ({"architectures": ["Qwen3ForSequenceClassification"]}, "architectures=['Qwen3ForSequenceClassification'] in "),
        ({"architectures": 7}, "architectures=7 in config.json, but "),
        ({"architectures": None}, "architectures=[] in config.json, but "),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "its weights are quantized"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "its weights are quantized"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "its weights are quantized"),
        ({"quantization_config": {"quant_method": "fp8"}}, "its weights are quantized (quantization_config: fp8)"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "its weights are quantized"),
        ({"final_logit_softcapping": 30.0}, "qwen3: models that set final_logit_softcapping are not supported"),
        ({"logits_scaling": 8.0}, "qwen3: models that set logits_scaling are not supported"),
        ({"hidden_act": "sillu"}, "config.json describes no model that can be built: KeyError: "),
        ({"hidden_size": "sixteen"}, "config.json cannot be used: "),
        ({"num_attention_heads": 0}, "config.json "),
        ({"num_hidden_layers": 10**5, "layer_types": None}, "config.json says num_hidden_layers=100000, but there are "),
        ({"num_hidden_layers": 0, "layer_types": None}, "config.json describes a Qwen3ForCausalLM without "),
        ({"num_hidden_layers": 2, "layer_types": None}, "11 weights (model.layers.1."),
        ({"intermediate_size": 40}, "model.layers.0.mlp.down_proj.weight has the shape [16, 32], and config.json implies "),
        ({"vocab_size": 500}, "lm_head.weight has the shape [400, 16], and config.json implies [500, 16]"),
        ({"max_position_embeddings": "long"}, "config.json cannot be used: "),
        ({"max_position_embeddings": -1}, "max_position_embeddings=-1 in config.json; it must be a positive integer"),
    ],
    ids=str,
)
def test_unusable_configuration_is_refused(folder: Path, values: dict[str, Any], reason: str) -> None:
    change(folder / "config.json", **values)
    assert refusal(folder).startswith(reason)


WIDTHS = {"vocab_size": 400, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
GPT = {"vocab_size": 400, "n_embd": 64, "n_layer": 1, "n_head": 2}
MULTIMODAL = {"text_config": SMALL | {"sliding_window": 32}, "vision_config": WIDTHS}


@pytest.mark.parametrize(
    ("model_class", "config", "reason"),
    [
        (hf.BertForMaskedLM, hf.BertConfig(**WIDTHS), "architectures=['BertForMaskedLM'] in config.json, but "),
        (hf.BertForSequenceClassification, hf.BertConfig(**WIDTHS), "architectures=['BertForSequenceClassification'] in "),
        (hf.Qwen3ForTokenClassification, hf.Qwen3Config(**SMALL), "architectures=['Qwen3ForTokenClassification'] in "),
        (
            hf.T5ForConditionalGeneration,
            hf.T5Config(vocab_size=400, d_model=16, num_layers=1),
            "model_type=t5 is an encoder-dec",
        ),
        (hf.ViTModel, hf.ViTConfig(**WIDTHS), "model_type=vit is not a causal language model in transformers "),
        (hf.MptForCausalLM, hf.MptConfig(vocab_size=400, d_model=16, n_heads=2, n_layers=1), "the installed vLLM has no Mpt"),
        (
            hf.CohereForCausalLM,
            hf.CohereConfig(**WIDTHS, logit_scale=-1.0),
            "cohere: logit_scale=-1.0 in config.json; it must be a positive number",
        ),
        (
            hf.Gemma3ForConditionalGeneration,
            hf.Gemma3Config(**MULTIMODAL),
            "model_type=gemma3 wraps a text model (text_config)",
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_model_of_another_kind_is_refused(
    folder: Path, model_class: type[hf.PreTrainedModel], config: hf.PretrainedConfig, reason: str
) -> None:
    assert refusal(replaced(folder, model_class(config))).startswith(reason)


def test_model_without_maximum_length_has_no_limit(folder: Path) -> None:
    replaced(folder, hf.BloomForCausalLM(hf.BloomConfig(vocab_size=400, hidden_size=16, n_layer=1, n_head=2)))
    assert inspect_model(folder, "model.path=MODEL").context is None
    config = Config(junior=[str(folder)])
    config.model.source, config.model.path = "hf", str(folder)
    assert load_authors(config).context == config.data.max_prompt_tokens + config.rollout.sampling.max_tokens + 1


# Tokenizers


def test_tokenizer_larger_than_embedding_is_refused(folder: Path) -> None:
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"word{index}" for index in range(402 - len(tokenizer))])
    tokenizer.save_pretrained(folder)
    assert refusal(folder).startswith(
        "its tokenizer has 2 tokens ('word80' is 400, 'word81' is 401) that its embedding of 400 "
    )


def test_chat_template_token_beyond_embedding_is_refused(folder: Path) -> None:
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<unused {index}>" for index in range(400 - len(tokenizer))], special_tokens=True)
    tokenizer.add_tokens(["<|im_start|>", "<|image|>"], special_tokens=True)
    tokenizer.chat_template = "{% for message in messages %}<|im_start|>{{ message.content }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    assert refusal(folder).startswith("its tokenizer has 1 tokens ('<|im_start|>' is 400) that its embedding of 400 rows ")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": {"type": "BPE"}}', '{"version": "1.0"}', "null"])
def test_damaged_tokenizer_is_refused(folder: Path, content: str) -> None:
    (folder / "tokenizer.json").write_text(content)
    assert refusal(folder).startswith("its tokenizer cannot be loaded: ")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\0", '"qwen3"'])
def test_damaged_configuration_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    assert refusal(folder).startswith("config.json cannot be used: ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "generation_config.json cannot be used: "),
        ('{"eos_token_id": 4000}', "eos_token_id=4000 is no token of a vocabulary of 400"),
        ('{"eos_token_id": "<|end|>"}', "eos_token_id='<|end|>' is no token of a vocabulary of 400"),
        ('{"eos_token_id": [1, -1]}', "eos_token_id=-1 is no token"),
    ],
)
def test_damaged_generation_configuration_is_refused(folder: Path, content: str, reason: str) -> None:
    (folder / "generation_config.json").write_text(content)
    assert refusal(folder).startswith(reason)


def test_model_without_end_of_sequence_is_refused(folder: Path) -> None:
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    assert inspect_model(folder, "model.path=MODEL").eos_ids == ()
    config = Config()
    config.model.source, config.model.path = "hf", str(folder)
    with pytest.raises(ConfigError, match="declares no end-of-sequence token, .*; set the tokenizer's eos_token"):
        load_authors(config)


@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
def test_tokenizer_without_word_boundaries_is_refused(folder: Path, kind: str) -> None:
    """The error names schedules that work."""
    model, trainer = {
        "unigram": (
            models.Unigram(),
            trainers.UnigramTrainer(vocab_size=60, special_tokens=["</s>", "<unk>"], unk_token="<unk>"),
        ),
        "wordpiece": (models.WordPiece(unk_token="<unk>"), trainers.WordPieceTrainer(special_tokens=["</s>", "<unk>"])),
    }[kind]
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(["How many pens are 3 and 4 pens?"] * 20, trainer)
    hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>").save_pretrained(folder)
    config = Config(junior=["self"])
    config.model.source, config.model.path = "hf", str(folder)
    with pytest.raises(
        ConfigError, match=r"^schedule.name=word: .*; choose token or chunk, which need no boundaries, or another model$"
    ):
        load_authors(config)
    for changes in ({"junior_translation": True}, {"junior": ["openai:http://localhost/v1,small"]}):
        with pytest.raises(ConfigError, match=r"^schedule.name=word: .*; choose another model$"):
            load_authors(replace(config, **changes))
    for name in ("token", "chunk"):
        config.schedule.name = name
        assert not load_authors(config).boundaries.any()


# Names


def test_name_of_no_directory_is_refused(tmp_path: Path, folder: Path) -> None:
    for name, reason in [
        (
            str(folder / "model.safetensors"),
            "this is a file; name the directory that holds the model's config.json and weights",
        ),
        (str(tmp_path / "missing"), "there is no such directory; name a Hugging Face directory or a hub id (ORG/NAME)"),
        ("x" * 5000, "File name too long"),
    ]:
        with pytest.raises(ConfigError) as refused:
            model_directory(name)
        assert str(refused.value).startswith(f"model.path={name[:60]}") and reason in str(refused.value)
    (empty := tmp_path / "empty").mkdir()
    assert refusal(empty) == "there is no config.json; name a directory that save_pretrained wrote"


def test_local_models_of_configuration_are_listed(saved: Path, folder: Path, tmp_path: Path) -> None:
    """Directories are inspected, hub ids and recipes are not."""
    config = Config(junior=["self", "org/model", "zoo:plain", str(folder)])
    config.model.source, config.model.path = "hf", str(saved)
    inspect_local_models(config)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match=rf"^junior\[3\]={folder}: model.safetensors is damaged"):
        inspect_local_models(config)
    config.model.path = str(folder)
    with pytest.raises(ConfigError, match=rf"^model.path={folder}: model.safetensors is damaged"):
        inspect_local_models(config)
