"""Tests of base models: recipes, the cache, tokenizers, and models that users name."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from tandem.config.data import DataConfig
from tandem.config.model import ModelConfig
from tandem.config.schema import Config, ConfigError
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.models.zoo.base_models import RECIPES, base_model, junior_model, zoo_model
from tandem.models.zoo.cache import build_once
from tandem.models.zoo.hub import model_directory
from tandem.models.zoo.pretrain import pretrain
from tandem.models.zoo.tokenizer import END
from tandem.models.zoo.vocabulary import tokenizer_difference
from tandem.schedule import boundary_table
from tests.support import ROOT

CONF = ROOT / "conf"
WATER_CYCLE = (
    "The water cycle describes how water moves through the environment. Heat from the sun causes water in oceans, lakes and "
    "rivers to evaporate into the air. As the vapor rises, it cools and condenses into clouds. Eventually the water falls back "
    "to the ground as rain or snow, and the process begins again. Plants also release water vapor through their leaves, which "
    "is called transpiration."
)
QUICK = replace(RECIPES["plain"], name="quick", steps=2, batch_size=4)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def quick(cache: Path) -> Path:
    """A base model trained for two steps."""
    return zoo_model(QUICK, cache)


@pytest.fixture(scope="module")
def tokenizer(quick: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(quick)


# Recipes and the cache


def test_base_model_is_complete_hugging_face_directory(quick: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(quick), AutoModelForCausalLM.from_pretrained(quick)
    assert model.config.model_type == "qwen3"
    assert model.config.tie_word_embeddings
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.max_position_embeddings == 8192
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == model.config.eos_token_id
    assert model.dtype == torch.float32


def test_cached_model_is_not_rebuilt(quick: Path, cache: Path) -> None:
    written = (quick / "model.safetensors").stat().st_mtime_ns
    assert zoo_model(QUICK, cache) == quick
    assert (quick / "model.safetensors").stat().st_mtime_ns == written
    assert [path.name for path in quick.parent.iterdir() if path.suffix != ".lock"] == [quick.name]


@pytest.mark.seconds
def test_recipe_determines_weights(quick: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    pretrain(QUICK, None, tmp_path / "again")
    assert torch.equal(torch.random.get_rng_state(), before)
    pretrain(replace(QUICK, seed=2), None, tmp_path / "other")
    first, again, other = (load_file(d / "model.safetensors") for d in (quick, tmp_path / "again", tmp_path / "other"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_every_field_of_recipe_changes_model_name(monkeypatch: pytest.MonkeyPatch) -> None:
    child = replace(QUICK, name="child", parent="quick")
    monkeypatch.setitem(RECIPES, "quick", QUICK)
    digest = child.digest
    monkeypatch.setitem(RECIPES, "quick", replace(QUICK, slip_plain=0.3))
    assert child.digest != digest
    assert (
        len({recipe.digest for recipe in (QUICK, replace(QUICK, lr=1e-3), replace(QUICK, seed=2), replace(QUICK, steps=4))})
        == 4
    )


@pytest.mark.seconds
def test_child_continues_from_its_parent(quick: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "quick", QUICK)
    child = zoo_model(replace(QUICK, name="child", parent="quick", steps=1, lr=1e-12, weight_decay=0.0), cache)
    ours, theirs = load_file(child / "model.safetensors"), load_file(quick / "model.safetensors")
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-9) for name in theirs)
    assert not tokenizer_difference(AutoTokenizer.from_pretrained(quick), AutoTokenizer.from_pretrained(child))


def _build_slowly(directory: Path, log: Path) -> None:
    def build(unfinished: Path) -> None:
        with log.open("a") as file:
            file.write("built\n")
        (unfinished / "part").write_text("one")
        (unfinished / "rest").write_text("two")

    build_once(directory, build, "a model")
    assert (directory / "rest").read_text() == "two"


def test_concurrent_processes_build_model_once(tmp_path: Path) -> None:
    directory, log = tmp_path / "zoo" / "model", tmp_path / "log"
    processes = [get_context("fork").Process(target=_build_slowly, args=(directory, log)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert log.read_text() == "built\n"


def test_interrupted_build_leaves_no_model(tmp_path: Path) -> None:
    def fail(unfinished: Path) -> None:
        (unfinished / "part").write_text("one")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once(tmp_path / "model", fail, "a model")
    assert not (tmp_path / "model").exists()
    made = build_once(tmp_path / "model", lambda unfinished: (unfinished / "rest").touch(), "a model")
    assert [path.name for path in made.iterdir()] == ["rest"]


# The tokenizer


@given(text=st.text())
def test_tokenizer_preserves_every_text(text: str, tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.decode(tokenizer.encode(text, split_special_tokens=True)) == text


def test_digits_never_merge(tokenizer: PreTrainedTokenizerBase) -> None:
    assert all(sum(c.isdigit() for c in surface) <= 1 for surface in tokenizer.get_vocab())
    surfaces = tokenizer.convert_ids_to_tokens(tokenizer.encode("Take 3: 46 - 3 = 43.\n"))
    assert surfaces == ["Take", "Ġ3", ":", "Ġ4", "6", "Ġ-", "Ġ3", "Ġ=", "Ġ4", "3", ".", "Ċ"]


def test_chat_template_ends_where_answer_begins(tokenizer: PreTrainedTokenizerBase) -> None:
    chat = [{"role": "user", "content": "How many?"}]
    assert tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) == "<|user|>How many?<|assistant|>"
    chat += [{"role": "assistant", "content": "3"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "<|user|>How many?<|assistant|>3<|end|>"


def test_words_and_lines_are_boundaries(tokenizer: PreTrainedTokenizerBase) -> None:
    table = boundary_table(tokenizer, "word_or_newline", len(tokenizer))
    ids = tokenizer.encode("Add 5: 43 + 5 = 48.\nThe")
    assert [tokenizer.convert_ids_to_tokens(i) for i in ids if table[i]] == ["Ġ5", "Ġ4", "Ġ+", "Ġ5", "Ġ=", "Ġ4", "Ċ"]


# The two authors' tokenizers


def test_difference_of_tokenizers_is_described(tokenizer: PreTrainedTokenizerBase, quick: Path) -> None:
    assert tokenizer_difference(tokenizer, AutoTokenizer.from_pretrained(quick)) == ""
    other = AutoTokenizer.from_pretrained(quick)
    other.add_tokens(["extra"])
    assert f"in 1 tokens ('extra' is None and {len(tokenizer)})" in tokenizer_difference(tokenizer, other)
    other = AutoTokenizer.from_pretrained(quick)
    other.eos_token = "<|pad|>"
    assert tokenizer_difference(tokenizer, other) == "eos_token_id is 1 for the senior, 0 for the junior"


# Models that users name


@pytest.mark.seconds
def test_zoo_juniors_share_ancestry_of_senior(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "quick", QUICK)
    monkeypatch.setitem(RECIPES, "quirk", replace(QUICK, name="quirk", parent="quick", steps=1))
    senior = base_model(ModelConfig(source="zoo", recipe="quirk", recipe_seed=3), cache)
    junior = junior_model("zoo:quick", senior, "junior[0]", cache, recipe_seed=3)
    assert RECIPES["quirk"].ancestor == QUICK
    assert not tokenizer_difference(AutoTokenizer.from_pretrained(senior), AutoTokenizer.from_pretrained(junior))
    others = {base_model(ModelConfig(source="zoo", recipe="quick", recipe_seed=seed), cache) for seed in (1, 3)}
    assert junior in others and len(others) == 2
    with pytest.raises(ConfigError, match=r"junior\[1\]=zoo:fancy: the recipes are plain, jargon"):
        junior_model("zoo:fancy", senior, "junior[1]", cache)


def test_small_junior_has_the_tokenizer_and_outputs_of_others(quick: Path, cache: Path) -> None:
    small = zoo_model(replace(RECIPES["plain_small"], name="quick_small", steps=1, batch_size=4), cache)
    assert not tokenizer_difference(AutoTokenizer.from_pretrained(quick), AutoTokenizer.from_pretrained(small))
    models = [AutoModelForCausalLM.from_pretrained(path) for path in (quick, small)]
    assert models[0].config.vocab_size == models[1].config.vocab_size
    assert 10 * models[1].num_parameters() < models[0].num_parameters()


def test_senior_with_jargon_has_plain_ancestor() -> None:
    jargon = RECIPES["jargon"]
    assert jargon.ancestor == RECIPES["plain"] and jargon.jargon > 10 * jargon.ancestor.jargon
    assert replace(jargon, seed=2).ancestor == replace(RECIPES["plain"], seed=2)


def test_model_directory_is_used_unchanged(quick: Path, cache: Path, tmp_path: Path) -> None:
    model = ModelConfig(source="hf", path=str(quick))
    assert base_model(model, cache) == quick
    assert junior_model("self", quick, "junior[0]", tmp_path) == quick
    assert junior_model(str(quick), tmp_path, "junior[0]", tmp_path) == quick


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelConfig(source="hf"), r"model\.path is empty"),
        (ModelConfig(source="hf", path="/nowhere/at/all"), r"model\.path=/nowhere/at/all: there is no such directory"),
        (ModelConfig(source="zoo", recipe="fancy"), r"model\.recipe=fancy: the recipes are plain"),
        (ModelConfig(source="ftp"), r"model\.source=ftp: choose zoo, smollm2 or hf"),
    ],
)
def test_unavailable_model_is_refused(model: ModelConfig, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        base_model(model, tmp_path)


def test_unreachable_hub_id_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"model\.path=nobody/nothing: .* the hub did not provide it"):
        base_model(ModelConfig(source="hf", path="nobody/nothing"), tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "hub.example")
    with pytest.raises(ConfigError, match=r"^HF_ENDPOINT=hub\.example: give the hub's address with http"):
        base_model(ModelConfig(source="hf", path="nobody/nothing"), tmp_path)


@pytest.mark.parametrize(
    ("held", "fetched"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin"], {"config.json", "model.safetensors"}),
        (
            ["config.json", "pytorch_model-1.bin", "pytorch_model.bin.index.json", "training_args.bin"],
            {"config.json", "pytorch_model-1.bin", "pytorch_model.bin.index.json"},
        ),
        (["config.json", "pytorch_model.bin", "onnx/model.safetensors"], {"config.json", "pytorch_model.bin"}),
    ],
)
def test_pickled_weights_are_downloaded_only_without_safetensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: list[str], fetched: set[str]
) -> None:
    def snapshot(name: str, allow_patterns: list[str]) -> str:
        for file in filter_repo_objects(held, allow_patterns=allow_patterns):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).touch()
        return str(tmp_path)

    monkeypatch.setattr("tandem.models.zoo.hub.snapshot_download", snapshot)
    assert model_directory("org/name") == tmp_path
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == fetched


# The real models


@pytest.mark.slow
def test_base_accuracy_leaves_room_to_improve(cache: Path) -> None:
    directory = base_model(ModelConfig(source="zoo", recipe="plain"), cache)
    tokenizer, model = AutoTokenizer.from_pretrained(directory), AutoModelForCausalLM.from_pretrained(directory)
    tokenizer.padding_side = "left"
    problems = load_problems(DataConfig(source="arith"), 1).held_out(400)
    prompts = [list(prompt.token_ids) for prompt in encode(problems, tokenizer, DataConfig(source="arith"))[0]]
    torch.manual_seed(0)
    texts = model.generate(**tokenizer.pad({"input_ids": prompts}, return_tensors="pt"), max_new_tokens=96, top_k=0)
    solutions = tokenizer.batch_decode(texts)
    right = [f"boxed{{{problem.answer}}}" in solution for problem, solution in zip(problems, solutions, strict=True)]
    assert 0.4 < sum(right) / len(right) < 0.6
    assert sum(END in solution for solution in solutions) > 396


@pytest.mark.slow
def test_smollm2_is_converted(cache: Path) -> None:
    directory = base_model(ModelConfig(source="smollm2"), cache)
    tokenizer, model = AutoTokenizer.from_pretrained(directory), AutoModelForCausalLM.from_pretrained(directory)
    assert tokenizer.convert_ids_to_tokens(model.generation_config.eos_token_id) == "<|im_end|>"
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("So\n\n12 pens")) == ["So", "ĊĊ", "1", "2", "Ġpens"]
    ids = tokenizer.encode(WATER_CYCLE, return_tensors="pt")
    # In nats; with permuted rows of the query and key weights it would be 3.
    assert model(ids, labels=ids).loss < 2.2


# Configuration files


GROUP_FILES = sorted([*CONF.glob("model/*.yaml"), *CONF.glob("data/*.yaml")])


@pytest.mark.parametrize("path", GROUP_FILES, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_configuration_files_match_typed_configuration(path: Path) -> None:
    group, content = path.parent.name, OmegaConf.load(path)
    everything = "@package _global_" in path.read_text()
    config = OmegaConf.merge(OmegaConf.structured(Config), content if everything else {group: content})
    assert OmegaConf.select(config, f"{group}.source", throw_on_missing=True)
