"""Tests of the inspection of weight files: every usual format is read, and unusable files are refused with the reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from tandem.models.inspection import inspect_model
from tests.support.builders import SMALL
from tests.support.model_files import change, refusal, replaced

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 988097824\n"


# Unusual formats


def _as_torch_files(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    torch.save({"lr": 1e-3}, folder / "training_args.bin")  # as a trainer saves it
    (folder / "model.safetensors").unlink()


def _of_mixed_dtypes(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    mixed = {name: tensor.bfloat16() if "mlp" in name else tensor for name, tensor in tensors.items()}
    save_file(mixed, folder / "model.safetensors", metadata={"format": "pt"})


def _in_shards(folder: Path) -> None:
    replaced(folder, hf.AutoModelForCausalLM.from_pretrained(folder)).joinpath("model.safetensors").unlink()
    hf.Qwen3ForCausalLM(hf.Qwen3Config(**SMALL | {"vocab_size": 400})).save_pretrained(folder, max_shard_size="20KB")


def _tied_without_a_head(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    change(folder / "config.json", tie_word_embeddings=True)


@pytest.mark.parametrize("otherwise", [_as_torch_files, _of_mixed_dtypes, _in_shards, _tied_without_a_head])
def test_other_weight_formats_are_accepted(folder: Path, otherwise: Callable[[Path], None]) -> None:
    otherwise(folder)
    assert inspect_model(folder, "model.path=MODEL").vocabulary == 400


# Damage


def _cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def _cut_in_its_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:100])


def _empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def _longer(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes() + b"more")


def _web_page(folder: Path) -> None:
    (folder / "model.safetensors").write_text("<!doctype html><title>404</title>" * 20)


def _pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(LFS_POINTER)


def _pointer_to_the_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(LFS_POINTER)


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _under_another_name(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "weights.safetensors")


def _as_gguf(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-q4.gguf")


def _without_a_shard(folder: Path) -> None:
    _in_shards(folder)
    next(iter(sorted(folder.glob("model-*.safetensors")))).unlink()


def _damaged_index(folder: Path) -> None:
    _in_shards(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": 1}}')


def _index_out_of_the_folder(folder: Path) -> None:
    _in_shards(folder)
    change(folder / "model.safetensors.index.json", weight_map={"lm_head.weight": "../other/model.safetensors"})


def _two_sets(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "before.safetensors")


def _whole_beside_shards(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    _in_shards(folder)
    (folder / "model.safetensors").write_bytes(whole)


def _without_a_head(folder: Path) -> None:
    _tied_without_a_head(folder)
    change(folder / "config.json", tie_word_embeddings=False)


def _of_integers(folder: Path) -> None:
    tensors = {name: tensor.to(torch.int8) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _of_eight_bits(folder: Path) -> None:
    tensors = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _cut_torch_file(folder: Path) -> None:
    _as_torch_files(folder)
    content = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(content[:-2000])


def _torch_file_of_something_else(folder: Path) -> None:
    _as_torch_files(folder)
    torch.save({"model": load_file, "step": 3}["step"], folder / "pytorch_model.bin")


def _an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "org/model"}')
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "config.json").unlink()


def _quantized_by_modelopt(folder: Path) -> None:
    (folder / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "FP8"}}')


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_cut, "model.safetensors is damaged or incomplete, "),
        (_cut_in_its_header, "model.safetensors is damaged or incomplete, 100 bytes: "),
        (_empty, "model.safetensors is damaged or incomplete, 0 bytes: "),
        (_longer, "model.safetensors is damaged or incomplete, "),
        (_web_page, "model.safetensors is damaged or incomplete, "),
        (_pointer, "model.safetensors is a git-lfs pointer, not the file itself; run git lfs pull there"),
        (_pointer_to_the_tokenizer, "tokenizer.json is a git-lfs pointer"),
        (_without_weights, "there are no weights; save the model there with save_pretrained"),
        (_under_another_name, "there are no weights under the names model.safetensors and pytorch_model.bin, only weights."),
        (_as_gguf, "there are no weights under the names model.safetensors and pytorch_model.bin, only model-q4.gguf"),
        (_without_a_shard, "1 of "),
        (_damaged_index, "model.safetensors.index.json is damaged: it must map names of tensors to files"),
        (_index_out_of_the_folder, "model.safetensors.index.json is damaged: it must map names of tensors to files"),
        (_two_sets, "learner and engines would read different weight files (before.safetensors)"),
        (_whole_beside_shards, "learner and engines would read different weight files (model-00001"),
        (_without_a_head, "1 weights (lm_head.weight) of the model are not in its files; set tie_word_embeddings=true"),
        (_of_integers, "14 weights (lm_head.weight, model.embed_tokens.weight, ...) are quantized or integers"),
        (_of_eight_bits, "14 weights (lm_head.weight, model.embed_tokens.weight, ...) are quantized or integers"),
        (_cut_torch_file, "pytorch_model.bin is damaged or incomplete: "),
        (_torch_file_of_something_else, "pytorch_model.bin holds something else than tensors by name"),
        (_an_adapter, "it holds an adapter (adapter_config.json); merge it into its base model"),
        (_quantized_by_modelopt, "its weights are quantized"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_unusable_weights_are_refused(folder: Path, spoil: Callable[[Path], None], reason: str) -> None:
    spoil(folder)
    assert refusal(folder).startswith(reason)
