"""Tests of invalid input to `python launch/train.py`: exit code 2 and a message, before any engine starts."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import ray
from hydra.core.global_hydra import GlobalHydra
from ray.exceptions import RayTaskError
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from launch.entry import BAD_INPUT, FAILED, INTERRUPTED, main
from launch.help import Program
from learner.group import LearnerError
from tandem.config.schema import Config, ConfigError
from tandem.guards import GuardError
from tests.support.builders import save_model, small_tokenizer

pytestmark = pytest.mark.seconds

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model folder."""
    return save_model(tmp_path_factory.mktemp("model"), small_tokenizer())


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Run `python SCRIPT` with overrides in this process; `program`: run this function in place of the script's."""
    GlobalHydra.instance().clear()
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def call(*overrides: str, script: str = "launch/train.py", program: Callable[[Config], None] | None = None) -> None:
        monkeypatch.setattr(sys, "argv", [script, f"log.dir={tmp_path / 'runs'}", "name=run", *overrides])
        main(Program("launch/train.py", "", (), ()), program) if program else runpy.run_path(script, run_name="__main__")

    return call


@pytest.fixture
def refused(call: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return a function that returns the error for bad input and checks that it exits with 2 and starts or writes nothing."""

    def refused(*overrides: str) -> str:
        before = set(psutil.Process().children(recursive=True))
        connected = ray.is_initialized()
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            call(*overrides)
        said = capsys.readouterr()
        assert exit_.value.code == BAD_INPUT
        assert ray.is_initialized() == connected
        assert set(psutil.Process().children(recursive=True)) <= before
        assert not (tmp_path / "runs").exists()
        assert said.err.startswith("train.py: ") and "Traceback" not in said.err
        return said.err.removeprefix("train.py: ").strip()

    return refused


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.prob_senior=1.5", "schedule.prob_senior=1.5: give a number from 0 to 1"),
        ("rollout.group_size=1", "rollout.group_size=1: give a number of at least 2"),
        (
            "algo.mini_batches=3",
            "algo.mini_batches=3: the step's 128 rollouts (rollout.prompts_per_step=16 x rollout.group_size=8) "
            "are not divisible by it; choose a divisor",
        ),
    ],
)
def test_invalid_value_is_refused(refused: Refused, override: str, message: str) -> None:
    assert refused(override) == message


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("schedule.prob_seinor=0.5", "schedule.prob_seinor: there is no such key; did you mean schedule.prob_senior"),
        ("group_size=4", "group_size: there is no such key; did you mean rollout.group_size?"),
        ("guard.senior_fraction_tolerance=0.1", "there is no such key any more: the guard tests exactly how many draws"),
        ("quite_unlike=anything", "quite_unlike: there is no such key"),
        ("+schedule.speed=3", "schedule.speed"),
        ("rollout.group_size=many", "rollout.group_size=many: give a whole number"),
        ("model=huge", "model/huge"),
        ("schedule.prob_senior", "schedule.prob_senior"),
        ("model.shape={hidden_size:wide}", "model.shape={hidden_size:wide}"),
        ("junior=org/model", "junior=org/model: this is a list; write 'junior=[org/model]'"),
    ],
)
def test_meaningless_override_is_refused(refused: Refused, override: str, named: str) -> None:
    assert named in refused(override)


def test_missing_data_file_is_refused(refused: Refused, model: Path) -> None:
    message = refused("model=hf", f"model.path={model}", "data=jsonl", "data.path=/missing.jsonl")
    assert message == "data.path=/missing.jsonl: there is no such file; name a file with one JSON object a line"


def test_malformed_data_line_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"What is {i} + 1?", "answer": i + 1}) for i in range(100)]
    lines[41] = '{"question": "What is 41 + 1?", "answer": 42'
    (file := tmp_path / "problems.jsonl").write_text("\n".join(lines))
    message = refused("model=hf", f"model.path={model}", "data=jsonl", f"data.path={file}")
    assert message.startswith(f"data.path={file}: malformed lines: 1; correct or remove them, ")
    assert message.splitlines()[1].startswith("  line 42: not JSON")


@pytest.mark.parametrize(
    ("content", "overrides", "reason"),
    [
        (b'{"question": "\\ud800", "answer": 1}', ["data.on_bad_line=skip"], "line 1: field 'question' holds half a surrogate"),
        (b"\x1f\x8b\x08", [], "it is compressed with gzip; unpack it with gunzip"),
        (b'[{"question": "a", "answer": 1}]', [], "it is one JSON array, not an object a line"),
        (b'{"question": "a", "answer": 1}', ["data.max_prompt_tokens=2"], "all 1 prompts"),
    ],
)
def test_unusable_data_file_is_refused(
    refused: Refused, model: Path, tmp_path: Path, content: bytes, overrides: list[str], reason: str
) -> None:
    (file := tmp_path / "problems.jsonl").write_bytes(content)
    message = refused(
        "model=hf", f"model.path={model}", "data=jsonl", f"data.path={file}", "data.held_out_fraction=0", *overrides
    )
    assert message.startswith("data.") and str(file) in message and reason in message


@pytest.mark.parametrize("assumed", [(), ("mode=local", "cluster.gpus=1")], ids=["this-machine", "assumed-gpus"])
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("data=jsonl", "data.path=/missing.jsonl"), "data.path=/missing.jsonl: there is no such file; name "),
        (("data=parquet", "data.path=/missing.parquet"), "data.path=/missing.parquet: there is no such file; name "),
        (("data=hub", "data.path="), "data.path is empty: name a dataset of the hub, or a folder"),
        (("data=reasoning_gym", "data.tasks=[chain_sums]"), "data.tasks: reasoning_gym has no task 'chain_sums'; did you mean"),
        (("model=hf", "model.path=/no/model"), "model.path=/no/model: there is no such directory; name a Hugging Face dir"),
        (("model=hf",), "model.path is empty: name a Hugging Face directory or a hub id"),
        (("junior=[self,/no/model]",), "junior[1]=/no/model: there is no such directory; name a Hugging Face directory or"),
        (("model=qwen3_4b", "model.path=/no/model"), "model.path=/no/model: there is no such directory; name a Hugging Fa"),
        (("resume=/no/run", "name="), "resume=/no/run: there is no intact checkpoint; leave resume out for a new run"),
        (("learner_only=/no/run",), "learner_only=/no/run: /no/run holds no rollouts; name a run folder of rollouts_only"),
    ],
)
def test_plan_with_missing_data_is_refused(
    refused: Refused, overrides: tuple[str, ...], message: str, assumed: tuple[str, ...]
) -> None:
    assert refused("plan_only=true", *assumed, *overrides).startswith(message)


def test_plan_reads_first_rows(refused: Refused, call: Callable[..., None], tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"What is {i} + 1?", "answer": i + 1}) for i in range(100)]
    (file := tmp_path / "problems.jsonl").write_text("\n".join(lines))
    given = ("plan_only=true", "data=jsonl", f"data.path={file}")
    call(*given)
    assert refused(*given, "data.question_field=problem").startswith(f"data.path={file}: malformed lines: 100; ")
    assert refused(*given, "data.held_out_path=/no.jsonl").startswith("data.held_out_path=/no.jsonl: there is no such file")
    rates = "data.pass_rates=/no.jsonl"
    assert refused(*given, rates).startswith("data.pass_rates=/no.jsonl: there is no such file")
    assert not (tmp_path / "runs").exists()


def test_plan_inspects_local_models(refused: Refused, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    (weights,) = (tmp_path / "model").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    message = refused("plan_only=true", "model=hf", f"model.path={tmp_path / 'model'}")
    assert message.startswith(f"model.path={tmp_path / 'model'}: ") and weights.name in message


def test_plan_reports_unreachable_hub_at_once(refused: Refused) -> None:
    start = time.monotonic()
    message = refused("plan_only=true", "model=hf", "model.path=org/name")
    assert message.startswith("model.path=org/name: there is no such directory, and the hub did not provide it: ")
    assert "name a local directory" in message and "HF_HUB_OFFLINE" in message
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("overrides", [("model=smollm2",), ("model.recipe=jargon", "junior=[zoo:plain]"), ()])
def test_plan_of_zoo_model_for_gpu(
    call: Callable[..., None], overrides: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("plan_only=true", "mode=local", "cluster.gpus=1", f"cache_dir={tmp_path / 'cache'}", *overrides)
    assert "all 1 GPUs are used" in capsys.readouterr().out
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("script", ["launch/evaluate.py", "launch/difficulty.py", "launch/serve.py", "launch/write.py"])
@pytest.mark.parametrize(
    "override", ["plan_only=true", "resume=auto", "rollouts_only=true", "learner_only=fake", "profile=true"]
)
def test_training_settings_are_refused_by_other_entry_points(
    call: Callable[..., None], script: str, override: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=str(BAD_INPUT)):
        call(override, script=script)
    key, _, value = override.partition("=")
    assert f"{key}={value.replace('true', 'True')}: only launch/train.py takes this; leave it out" in capsys.readouterr().err


def test_weights_larger_than_shared_memory_are_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    small = SimpleNamespace(total=1 << 20, free=1 << 20)
    monkeypatch.setattr("tandem.runtime.segment.shutil.disk_usage", lambda folder: small)
    message = refused()
    assert message.startswith("learner.transport=shm: the senior's weights take 2 MiB of /dev/shm, and 1 MiB are free; ")
    assert "--shm-size" in message


@pytest.mark.parametrize(
    "key", ["resume", "learner_only", "cache_dir", "log.dir", "log.export_fallback", "junior", "model.path"]
)
def test_unreachable_path_is_refused(refused: Refused, key: str) -> None:
    path = "x" * 300
    given = f"[{path}]" if key == "junior" else path
    assert f"{key}={path[:80]}: File name too long; name another" in refused(f"{key}={given}")


def test_task_options_without_names_are_refused(refused: Refused, model: Path) -> None:
    options = ("data=reasoning_gym", "data.tasks=[chain_sum]", "data.task_options={chain_sum:7}")
    message = refused("model=hf", f"model.path={model}", *options)
    assert message.startswith("data.task_options.chain_sum=7: give the task's options by name")


def test_training_on_benchmark_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"What is {i} + 1?", "answer": i + 1}) for i in range(40)]
    (file := tmp_path / "problems.jsonl").write_text("\n".join(lines))
    message = refused("model=hf", f"model.path={model}", "data=jsonl", f"data.path={file}", "data.evaluation_only=true")
    assert message.startswith(
        f"data.path={file}: these problems are for evaluation only (data.evaluation_only); train on other"
    )


def test_unknown_task_is_refused(refused: Refused, model: Path) -> None:
    message = refused("model=hf", f"model.path={model}", "data=reasoning_gym", "data.tasks=[chain_sums]")
    assert message.startswith("data.tasks: reasoning_gym has no task 'chain_sums'; did you mean chain_sum")


def test_data_file_smaller_than_step_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"What is {i} + 1?", "answer": i + 1}) for i in range(40)]
    (file := tmp_path / "problems.jsonl").write_text("\n".join(lines))
    message = refused("model=hf", f"model.path={model}", "data=jsonl", f"data.path={file}", "rollout.prompts_per_step=60")
    assert "rollout.prompts_per_step" in message and "60" in message


def test_model_without_tokenizer_is_refused(refused: Refused, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", None)
    message = refused("model=hf", f"model.path={folder}")
    assert message.startswith(f"model.path={folder}: there are no tokenizer files")


def test_truncated_model_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(model, tmp_path / "damaged")
    os.truncate(damaged / "model.safetensors", 5000)
    for arguments in ([f"model.path={damaged}"], [f"model.path={model}", f"junior=[self,{damaged}]"]):
        named = arguments[-1].replace("junior=[self,", "junior[1]=").removesuffix("]")
        assert refused("model=hf", *arguments).startswith(f"{named}: model.safetensors is damaged or incomplete, 5,000 bytes: ")


def test_model_with_short_context_is_refused(refused: Refused, model: Path) -> None:
    base = ["model=hf", f"model.path={model}", "data.max_prompt_tokens=100"]
    for key, other in (("rollout", "eval"), ("eval", "rollout")):
        message = refused(*base, f"{key}.sampling.max_tokens=4000", f"{other}.sampling.max_tokens=3995")
        assert message.startswith(
            f"model: its context is 4096 tokens, but data.max_prompt_tokens=100 and {key}.sampling.max_tokens=4000 need 4101; "
        )
    message = refused(*base, "rollout.sampling.max_tokens=4000", "eval.sampling.max_tokens=3996")
    assert "rollout.sampling.max_tokens=4000 and eval.sampling.max_tokens=3996 need 4101; lower one of them" in message


def test_junior_with_another_tokenizer_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    other = small_tokenizer().__class__.from_pretrained(model)
    other.add_tokens(["Mia"])
    junior = save_model(tmp_path / "junior", other, vocab_size=len(other))
    message = refused("model=hf", f"model.path={model}", f"junior=[self,{junior}]")
    assert message.startswith(f"junior[1]={junior}: the junior's tokenizer differs from the senior's in 1 tokens ('Mia'")


def test_junior_whose_tokens_are_no_bytes_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"▁a": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>")), eos_token="</s>"
    )
    junior = save_model(tmp_path / "junior", words)
    message = refused("model=hf", f"model.path={model}", f"junior=[{junior}]", "junior_translation=true")
    assert (
        message.startswith(f"junior[0]={junior}: the vocabulary of") and "neither byte-level BPE nor SentencePiece" in message
    )


def test_junior_with_short_context_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    junior = save_model(tmp_path / "junior", small_tokenizer(), max_position_embeddings=100)
    message = refused("model=hf", f"model.path={model}", f"junior=[{junior}]", "data.max_prompt_tokens=64")
    assert message.startswith(f"junior[0]={junior}: its context is 100 tokens, but data.max_prompt_tokens=64")


def test_missing_junior_is_refused(refused: Refused) -> None:
    assert refused("junior=[self,/no/such/model]").startswith("junior[1]=/no/such/model: there is no such directory")


@pytest.mark.parametrize("key", ["log.dir", "cache_dir"])
def test_unwritable_folder_is_refused(call: Callable[..., None], key: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=str(BAD_INPUT)):
        call(f"{key}=/proc/none")
    said = capsys.readouterr().err
    assert said.startswith(f"train.py: {key}=/proc/none") and "name another folder" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("steps=(5)", "steps=(5): give a whole number"),
        ("model=ü", "model=ü: there is no conf/model/ü.yaml; choose hf or "),
        ("name=../up", "name=../up: it must name a folder in"),
    ],
)
def test_unreadable_value_is_explained(refused: Refused, override: str, said: str) -> None:
    assert refused(override).startswith(said)


def test_existing_run_folder_is_refused(call: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "runs" / "run" / "metrics.jsonl"
    taken.parent.mkdir(parents=True)
    taken.touch()
    with pytest.raises(SystemExit) as exit_:
        call()
    assert exit_.value.code == BAD_INPUT
    assert "name=run: " in capsys.readouterr().err


def test_interrupt_has_its_own_exit_code(call: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(config: Config) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as exit_:
        call(program=interrupted)
    assert exit_.value.code == INTERRUPTED
    assert capsys.readouterr().err == "Interrupted\n"


def test_internal_error_keeps_traceback(call: Callable[..., None]) -> None:
    def broken(config: Config) -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        call(program=broken)


@pytest.mark.parametrize(
    ("inner", "code"), [(ConfigError("learner.transport=shm: no room"), BAD_INPUT), (GuardError("the run is wrong"), FAILED)]
)
def test_error_of_actor_is_shown_as_its_message(
    call: Callable[..., None], capsys: pytest.CaptureFixture[str], inner: Exception, code: int
) -> None:
    def failing(config: Config) -> None:
        wrapped = RayTaskError("update", "Traceback: a page of it", inner)
        raise LearnerError(f"learner rank 0 of 1 failed: {wrapped}") from wrapped

    with pytest.raises(SystemExit) as exit_:
        call(program=failing)
    assert (exit_.value.code, capsys.readouterr().err) == (code, f"train.py: {inner}\n")


def test_unknown_error_of_actor_keeps_traceback(call: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def failing(config: Config) -> None:
        wrapped = RayTaskError("update", "Traceback: a page of it", ZeroDivisionError("a bug"))
        raise LearnerError(f"learner rank 0 of 1 failed: {wrapped}") from wrapped

    with pytest.raises(SystemExit) as exit_:
        call(program=failing)
    said = capsys.readouterr().err
    assert exit_.value.code == FAILED and "learner rank 0 of 1 failed" in said and "a page of it" in said
