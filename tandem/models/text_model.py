"""The language model inside a multimodal one, as a model of its own."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, PretrainedConfig, PreTrainedModel

from tandem.models.inspection import inspect_model
from tandem.models.loading import load_config, load_declared_model, load_tokenizer
from tandem.models.unusable import UnusableModel, refusing
from tandem.runtime.atomic_dir import written_aside

_TRIAL_TEXT = "Ana has 12 apples, eats 3.5 of them\n\nand so <b>8.5</b> \u00e9t\u00e9 remain: x = 2*y"
_TRIAL_TOKENS = 16
"""The length of the text whose logits are compared."""


def save_text_model(source: str | Path, target: Path) -> PreTrainedModel:
    """Save the language model of the multimodal model at `source`, a directory or a hub id, with its tokenizer; return it.

    Weights keep their type. Raises `UnusableModel` when `source` is no such model, when transformers has no class for its
    language model alone, and when that class computes other logits of a text than the whole model, or its tokenizer other
    tokens; `ConfigError` when the language model cannot be trained. Then nothing is saved.
    """
    with refusing("the model cannot be read", "give the directory of a complete model, or its id on the hub"):
        config, tokenizer = load_config(source), load_tokenizer(source)
    text_config = config.get_text_config(decoder=True)
    if text_config is config:
        raise UnusableModel(f"model_type={config.model_type} is a language model already; use it as it is")
    if type(text_config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UnusableModel(
            f"transformers {transformers.__version__} has no class for the language model of model_type={config.model_type} "
            f"alone ({text_config.model_type}); choose another model"
        )
    with refusing("the model cannot be loaded", "copy it again, or use a machine with more memory"):
        whole = load_declared_model(source, config)
    if whole is None:
        raise UnusableModel(f"transformers {transformers.__version__} has no {config.architectures}; choose another model")
    with refusing("its language model cannot be separated", "choose another model"), torch.no_grad():
        model = _text_model(whole, text_config)
        texts = torch.randint(text_config.vocab_size, (1, _TRIAL_TOKENS), generator=torch.Generator().manual_seed(0))
        expected, actual = (each.eval()(input_ids=texts, use_cache=False).logits.float() for each in (whole, model))
    if not torch.allclose(expected, actual, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        raise UnusableModel(
            f"the language model of model_type={config.model_type} computes other logits alone than within the whole model "
            f"(by up to {float((expected - actual).abs().max()):.3g}); choose another model"
        )
    with written_aside(target) as folder:
        with refusing("its language model cannot be saved", "correct its generation_config.json, or choose another model"):
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            # transformers chooses a tokenizer's class by the type of the model beside it.
            same = load_tokenizer(folder).encode(_TRIAL_TEXT) == tokenizer.encode(_TRIAL_TEXT)
        if not same:
            raise UnusableModel(f"its tokenizer gives other tokens next to a {text_config.model_type}; choose another model")
        inspect_model(folder, f"MODEL={source}")
    return model


def _text_model(whole: PreTrainedModel, config: PretrainedConfig) -> PreTrainedModel:
    """Return the causal language model that has the decoder and the head of `whole`."""
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    decoder, head = whole.get_decoder(), whole.get_output_embeddings()
    config.architectures, config.dtype = [model_class.__name__], decoder.dtype
    config.tie_word_embeddings = head.weight is decoder.get_input_embeddings().weight
    with torch.device("meta"):
        model: PreTrainedModel = model_class(config)
    name = next((name for name, child in model.named_children() if type(child) is type(decoder)), None)
    if name is None:
        raise UnusableModel(f"{model_class.__name__} has no {type(decoder).__name__}; choose another model")
    setattr(model, name, decoder)
    model.set_output_embeddings(head)
    if whole.generation_config is not None:
        model.generation_config = whole.generation_config
    return model
