"""Tests of command-line overrides: texts are passed unchanged, and unreadable overrides are explained."""

from __future__ import annotations

import re
import shlex
import string
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import example, given
from hypothesis import strategies as st

from launch.command_line import TYPES, literal_override, literal_overrides, quoted, split_values
from launch.entry import UNUSABLE, configuration
from launch.explanations import check_options, explain, explain_unknown, explain_unreadable
from launch.peer_names import PEERS
from tandem.config.schema import SETTINGS, Config, ConfigError

REPORTED = [
    *("~/x.jsonl", "run=1", "(x)", "#1", "ü", "a(b).jsonl", "Q: {question}", "1e5", "3e-4", "1_000", "true"),
    *("null", "inf", "007", "a,b", "", " x ", "it's", 'say "x"', "\\", "a\\", "a\\'", "[x", "{x}", "a: b", "a=b=c"),
    *("\\(x\\)", "100%", "$x", "x'y'", "-", "a b"),
]
TEXT_KEYS = ("name", "data.path", "data.template", "model.path", "log.dir", "judge.answer_pattern")
CHARACTERS = st.characters(exclude_categories=["C"], include_characters="\t\n") | st.sampled_from(string.punctuation + " ")
TEXTS = st.lists(CHARACTERS | st.sampled_from(["${", "\\'", "''", "???", "1e5", "null"]), max_size=12).map("".join)
parser = OverridesParser.create()


@pytest.fixture
def composed() -> Callable[..., Config]:
    """Return the configuration that a command line gives."""
    GlobalHydra.instance().clear()
    return lambda *overrides: configuration(overrides)


def has_special_meaning(text: str) -> bool:
    """Whether a value has a special meaning: quotes around it, a reference, or the mark of a missing value."""
    return text[:1] in ("'", '"') or "${" in text or text.strip() == "???"


def read(override: str) -> tuple[object, str]:
    """Return the value that Hydra reads in an override, or the error message."""
    try:
        return parser.parse_overrides([literal_override(override)])[0].value(), ""
    except (HydraException, ConfigError) as error:
        return None, explain(error)


@given(key=st.sampled_from(TEXT_KEYS), text=TEXTS)
@example(key="name", text="a\\")
def test_any_text_is_passed_unchanged_or_refused_with_key(key: str, text: str) -> None:
    value, refusal = read(f"{key}={text}")
    if has_special_meaning(text):
        assert isinstance(value, str) or refusal.startswith(f"{key}={text}: ")
    else:
        assert (value, refusal) == (text, "")


@given(text=TEXTS)
def test_quoted_text_is_read_back_unchanged(text: str) -> None:
    assert parser.parse_override(f"key={quoted(text)}").value() == text
    if "${" not in text:
        assert literal_override(f"name={quoted(text)}") == f"name={quoted(text)}", "once is enough"


PLAIN = TEXTS.map(lambda text: text.translate(str.maketrans("", "", ",()[]{}")) or "x")


@given(plain=st.lists(PLAIN.filter(lambda text: not has_special_meaning(text)), min_size=2, max_size=4))
def test_sweep_passes_each_value_unchanged(plain: list[str]) -> None:
    override = parser.parse_override(literal_override(f"name={','.join(plain)}", sweep=True))
    assert override.is_sweep_override()
    values = [parser.parse_override(f"name={each}").value() for each in override.sweep_string_iterator()]
    assert values == plain


@pytest.mark.seconds
@pytest.mark.parametrize("text", REPORTED)
def test_reported_texts_reach_configuration(composed: Callable[..., Config], text: str) -> None:
    config = composed(f"name={text}", f"data.template={text}{{question}}")
    assert config.name == text
    assert config.data.template == f"{text}{{question}}"


def test_elements_of_list_are_passed_unchanged(composed: Callable[..., Config]) -> None:
    config = composed("junior=[self, 1e5, org/a(b), 'with, comma', ~/ü]")
    assert config.junior == ["self", "1e5", "org/a(b)", "with, comma", str(Path.home() / "ü")]
    assert composed("junior=['self']").junior == ["self"]


def test_quotes_and_references_keep_their_meaning(composed: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEWHERE", "/some where")
    config = composed('name="a: b"', "log.dir=${oc.env:SOMEWHERE}/runs", "data.template='{question}'", "seed=3")
    assert (config.name, config.log.dir, config.data.template, config.seed) == ("a: b", "/some where/runs", "{question}", 3)


def test_values_of_other_keys_are_unchanged() -> None:
    overrides = ["steps=1e3", "model=tiny", "+data.task_options.gcd={a: 1}", "--cfg", "x"]
    assert literal_overrides(overrides) == overrides
    functions = ["name=choice(a,b)", "schedule.name=glob(*)", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    assert literal_overrides(functions, sweep=True) == functions
    assert literal_overrides(["schedule.name=word,token"], sweep=True) == ["schedule.name=word,token"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a,b", ["a", "b"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("[a,b],[c]", ["[a,b]", "[c]"]),
        (r"'a\',b',c", [r"'a\',b'", "c"]),
        ("it's,b", ["it's", "b"]),
        ("", [""]),
        ("'a,b", ["'a", "b"]),
    ],
)
def test_values_are_split_at_commas_outside_of_quotes_and_brackets(text: str, values: list[str]) -> None:
    assert list(split_values(text)) == values


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("name=${", "name=${: ${ begins a reference"),
        ("name=???", "name=???: ??? marks a missing value"),
        ("name=a\udcff", "'name=a\\udcff': this is not valid UTF-8"),
        ("name=${nothing}", "name: "),
        ("nmae=(x)", "nmae: there is no such key; did you mean name?"),
        ("steps=(5)", "steps=(5): give a whole number"),
        ("steps=", "steps=: give a whole number"),
        ("steps=1.5", "steps=1.5: give a whole number"),
        ("learner.lr=x", "learner.lr=x: give a number"),
        ("log.tensorboard=yess", "log.tensorboard=yess: give true or false"),
        ("profile=#", "profile=#: give true or false"),
        ("model=ü", "model=ü: there is no conf/model/ü.yaml; choose hf or"),
        ("junior=a(b)", "junior=a(b): this is a list; write 'junior=[a(b)]'"),
        ("data.task_options=(x)", "data.task_options=(x): give a dictionary, as in "),
        ("+data.task_options.gcd=(x", "+data.task_options.gcd=(x: this cannot be read"),
        ("steps", "steps: give a value, as in steps=VALUE"),
        ("learner=3", "learner=3: there is no conf/learner/3.yaml; choose zero"),
        ("model=null", "model=null: there is no conf/model/null.yaml; choose hf or "),
        ("eval=[a,b]", "eval=[a,b]: there is no conf/eval/[a,b].yaml; choose experiment or "),
        ("schedule=", "schedule=: choose alternate or chunk or "),
        ("learner={lr: 3", "learner={lr: 3: this is a group of settings; give one of them, as in learner."),
        ("judge=3", "judge=3: this is a group of settings; give one of them, as in judge."),
        ("experiment=paper_qwen3_4b", "experiment: write +experiment=NAME: "),
        ("experiment_preset=jargon", "experiment_preset: launch/experiment.py takes it, as preset=NAME"),
        ("eval.handoff=[{nme: chunk}]", "eval.handoff: nme: there is no such key; choose name or prob_senior or "),
        (
            "eval.handoff={name: chunk",
            "eval.handoff={name: chunk: give a list of schedules, as in 'eval.handoff=[{name: chunk, ",
        ),
        (
            "eval.handoff=[name: chunk]",
            "eval.handoff=[name: chunk]: give a list of schedules, as in 'eval.handoff=[{name: chunk, ",
        ),
        ("junior=[self", "junior=[self: give a list, as in 'junior=[a,b]'"),
        ("eval.pass_at=[1;8]", "eval.pass_at=[1;8]: give a list of whole numbers, as in 'eval.pass_at=[1,8]'"),
        ("eval.pass_at=[a]", "eval.pass_at=[a]: give a list of whole numbers, as in 'eval.pass_at=[1,8]'"),
        ("eval.pass_at=8", "eval.pass_at=8: this is a list; write 'eval.pass_at=[8]'"),
        ("junior_weights=[1,x]", "junior_weights=[1,x]: give a list of numbers, as in 'junior_weights=[0.5,1]'"),
        ("learner.betas=[a,b]", "learner.betas=[a,b]: give two numbers, as in 'learner.betas=[0.9,0.98]'"),
        ("rollout.enforce_eager=perhaps", "rollout.enforce_eager=perhaps: give true, false or null"),
        ("data.task_options=5", "data.task_options=5: give a dictionary, as in 'data.task_options={key: value}'"),
        ("+model.shape.hidden_size=abc", "+model.shape.hidden_size=abc: give a whole number"),
        ("~schedule=nothing", "~schedule=nothing: settings cannot be deleted"),
        ("~seed", "~seed: settings cannot be deleted; give key=value"),
        ("seed=???", "seed=???: ??? marks a missing value; give another"),
        ("name=a\0b", "'name=a\\x00b': a text cannot contain a null character"),
        ("model@x=tiny", "model@x=tiny: @ cannot be used; write model=tiny"),
        ("hydra.run.dir=x", "hydra.run.dir=x: a single run takes nothing of Hydra's own settings"),
        ("model=../conf/model/tiny", "model=../conf/model/tiny: there is no conf/model/../conf/model/tiny.yaml; choose hf or "),
        ("steps=2000000000", "steps=2000000000: give a number of at most 1,000,000,000"),
        ("rollout.replicas=10001", "rollout.replicas=10001: give a number from 1 to 10,000"),
        ("+x=1", "x: there is no such key"),
        ("+steps.x=1", "steps.x: there is no such key; did you mean steps?"),
        ("+algo.clip_low=1", "+algo.clip_low: there is this setting already; leave out the +"),
        ("~", "~: give key=value"),
        ("hydra/launcher=foo", "hydra/launcher=foo: a single run takes nothing of Hydra's own settings"),
        ("=", "=: give key=value"),
        ("=x", "=x: give key=value"),
    ],
)
def test_unreadable_override_is_explained(composed: Callable[..., Config], override: str, message: str) -> None:
    with pytest.raises(UNUSABLE) as error:
        composed(override)
    assert explain(error.value).startswith(message)
    assert "antlr" not in explain(error.value) and "hydra.cc" not in explain(error.value)


@pytest.mark.parametrize(
    ("program", "remedy"), [("train", "add --multirun, or give one"), ("evaluate", "give one"), ("experiment", "give one")]
)
def test_sweep_is_proposed_where_it_is_possible(
    composed: Callable[..., Config], program: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [f"launch/{program}.py", "seed=1,2"])
    with pytest.raises(UNUSABLE) as error:
        composed("seed=1,2")
    assert explain(error.value) == f"seed=1,2: several values are a sweep; {remedy}"


@pytest.mark.parametrize("peer", sorted(peer for peers in PEERS.values() for peer in peers.split()))
def test_name_of_another_library_leads_to_setting(peer: str) -> None:
    (key,) = [key for key, peers in PEERS.items() if peer in peers.split()]
    assert key in SETTINGS
    for name in (peer, f"trainer.{peer}"):
        assert explain_unknown(name) == f"{name}: there is no such key; did you mean {key}?"


@pytest.mark.parametrize("peer", ["lr", "temperature", "weight_decay", "gradient_checkpointing"])
def test_name_that_ends_a_key_leads_to_it(peer: str) -> None:
    assert f".{peer}" in explain_unknown(peer).partition("did you mean ")[2]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("mdel=tiny", "mdel: there is no such key; did you mean model"),
        ("schedul=word", "schedul: there is no such key; did you mean schedule"),
        ("schedule=wrod", "schedule=wrod: there is no conf/schedule/wrod.yaml; did you mean word? The choices are alternate, "),
        ("model=huge", "model=huge: there is no conf/model/huge.yaml; choose hf or "),
    ],
)
def test_unknown_group_or_choice_gets_suggestion(composed: Callable[..., Config], override: str, message: str) -> None:
    with pytest.raises(UNUSABLE) as error:
        composed(override)
    assert explain(error.value).startswith(message)


@pytest.mark.parametrize("whole", ["junior=[self, org/model]", "name=my first run", "data.task_options={a: {b: 1}}"])
def test_argument_that_shell_split_is_shown_whole_and_quoted(composed: Callable[..., Config], whole: str) -> None:
    arguments = ["steps=3", *whole.split(), "seed=2"]
    with pytest.raises(UNUSABLE) as error:
        composed(*arguments)
    message = explain(error.value, arguments)
    (remedy,) = shlex.split(message.partition("quote the whole argument: ")[2])
    assert remedy == whole


@pytest.mark.seconds
@pytest.mark.parametrize("key", SETTINGS)
def test_value_of_wrong_type_is_refused_with_key_and_remedy(composed: Callable[..., Config], key: str) -> None:
    if TYPES[key] is str:
        return  # holds any text
    values = ["{", "[x", "{x: {y: z}}"]
    for value in values[: 2 if TYPES[key] in (dict[str, int], dict[str, Any]) else 3]:
        with pytest.raises(UNUSABLE) as error:
            composed(f"{key}={value}")
        assert re.match(rf"{re.escape(key)}(={re.escape(value)})?: .*(give|write|it has no effect) ", explain(error.value))


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("--nothing", "there is no such option; --help lists"),
        ("--multi", "there is no such option; did you mean --multirun?"),
        ("--config-name", "there is no such option; did you mean --config?"),
        ("--steps", "settings are written without -, as in steps=VALUE"),
        ("--learner.lr=1", "settings are written without -, as in learner.lr=VALUE"),
        ("--resolve", "it says what --cfg prints; add --cfg job"),
        ("-sc", "give it with install=bash"),
    ],
)
def test_unknown_option_is_refused(option: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=f"{option.partition('=')[0]}: {re.escape(remedy)}"):
        check_options(["steps=3", option, "x"])


@pytest.mark.parametrize("arguments", [["--cfg", "job", "--resolve"], ["--multirun", "seed=1,2"], ["-sc", "install=bash"]])
def test_options_of_programs_are_taken(arguments: list[str]) -> None:
    check_options(arguments)


def test_dictionary_sets_keys_of_group(composed: Callable[..., Config]) -> None:
    assert composed("learner={lr: 3e-4}").learner.lr == 3e-4


def test_remedy_can_be_typed() -> None:
    remedy = explain_unreadable("+data.task_options.gcd=a (b")
    (argument,) = shlex.split(remedy.partition("; if it is one text, write ")[2])
    assert parser.parse_override(argument).value() == "a (b"


@given(name=st.sampled_from(["steps", "profile", "junior", "model", "nothing", "data.task_options"]), text=TEXTS)
def test_no_message_mentions_hydra_grammar(name: str, text: str) -> None:
    _, refusal = read(f"{name}={text}")
    assert not refusal or (refusal.startswith(name) and "hydra" not in refusal.lower())
