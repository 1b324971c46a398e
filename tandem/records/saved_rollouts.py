"""Whole rollouts on disk: everything that a step learned from, in files that hold nothing but data, sealed with checksums.

docs/debugging.md describes the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tandem.records.step_folders import step_folder
from tandem.rollout import EndReason, Group, Problem, Prompt, Rollout, StopReason
from tandem.runtime.atomic_dir import find_corruption, seal, written_aside
from tandem.schedule import Schedule
from tandem.verify.judgement import Judgement, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tandem.authors import Authors

VERSION = 3
"""The version of the format; another one is refused."""
SAMPLED_BYTES = 1 << 20
"""The bytes of each end of a weight file that its fingerprint covers."""
PER_TOKEN = ("token_ids", "authorship", "logprobs", "weight_versions")
"""The arrays of a rollout."""


class UnreadableRollouts(ValueError):
    """Saved rollouts that are damaged, or in another format."""


@dataclass(frozen=True)
class Origin:
    """What rollouts were sampled from: another learner's log-probabilities of them would mean nothing."""

    model: str
    """a fingerprint of the base model's weights"""
    tokenizer: str
    """a fingerprint of the tokenizer"""
    vocabulary: int
    """the width of the models' logits"""
    temperature: float

    @classmethod
    def of(cls, authors: Authors, temperature: float) -> Origin:
        """Return the origin of rollouts that `authors` write at `temperature`."""
        tokenizer = _fingerprint_of_tokenizer(authors.tokenizer)
        return cls(fingerprint(authors.senior), tokenizer, authors.vocabulary, temperature)


def fingerprint(model: Path) -> str:
    """Return a hash of the weights in a Hugging Face directory: of the sizes of their files, and of both ends of each."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted([*model.glob("*.safetensors"), *model.glob("pytorch_model*.bin")]):
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            digest.update(file.read(SAMPLED_BYTES))
            file.seek(max(0, size - SAMPLED_BYTES))
            digest.update(file.read())
    return digest.hexdigest()


def _fingerprint_of_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    content = json.dumps([sorted(tokenizer.get_vocab().items()), tokenizer.bos_token_id, tokenizer.eos_token_id])
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def save_step(folder: Path, step: int, groups: Sequence[Group], origin: Origin) -> None:
    """Write what step `step` learns from, judged and with advantages, to a folder of its own in `folder`."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    arrays = {name: _joined([getattr(rollout, name) for rollout in rollouts]) for name in PER_TOKEN}
    arrays["prompt_ids"] = _joined([np.array(group.prompt.token_ids, np.int32) for group in groups])
    arrays["breaks"] = _joined([np.zeros(0, bool) if r.breaks is None else r.breaks for r in rollouts]).astype(np.uint8)
    arrays["rewards"] = _joined([group.rewards for group in groups])
    arrays["advantages"] = _joined([group.advantages for group in groups])
    for name in groups[0].reward_terms:
        arrays[f"reward_terms/{name}"] = _joined([group.reward_terms[name] for group in groups])
    with written_aside(step_folder(folder, step)) as partial:
        save_file(arrays, partial / "arrays.safetensors")
        (partial / "groups.jsonl").write_text(
            "".join(json.dumps(_without_arrays(group)) + "\n" for group in groups), encoding="utf-8"
        )
        (partial / "origin.json").write_text(
            json.dumps({"version": VERSION, "step": step} | asdict(origin), indent=1), encoding="utf-8"
        )
        seal(partial)


def read_origin(step: Path) -> Origin:
    """Return what a saved step was sampled from. Raises `UnreadableRollouts` unless all its files are as they were written."""
    if wrong := find_corruption(step):
        raise UnreadableRollouts(f"{step} is damaged: {wrong}")
    fields = _checked_origin(step)
    del fields["version"], fields["step"]
    return Origin(**fields)


def load_step(step: Path) -> list[Group]:
    """Return the groups of a saved step. Raises `UnreadableRollouts` for another version of the format."""
    _checked_origin(step)
    arrays = {name: _Reader(array) for name, array in load_file(step / "arrays.safetensors").items()}
    lines = (step / "groups.jsonl").read_text(encoding="utf-8").splitlines()
    return [_group(json.loads(line), arrays) for line in lines]


def _checked_origin(step: Path) -> dict[str, Any]:
    """Return the fields of origin.json. Raises `UnreadableRollouts` for another version of the format."""
    fields: dict[str, Any] = json.loads((step / "origin.json").read_text(encoding="utf-8"))
    if fields["version"] != VERSION:
        raise UnreadableRollouts(
            f"{step} is in version {fields['version']} of the format, and this program reads version {VERSION}"
        )
    return fields


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(np.concatenate(parts))


def _without_arrays(group: Group) -> dict[str, Any]:
    """Return the fields of a group that are no arrays."""
    return {
        "problem": asdict(group.prompt.problem),
        "prompt_tokens": len(group.prompt.token_ids),
        "opening": group.prompt.opening,
        "junior_prompts": {str(junior): list(ids) for junior, ids in group.prompt.junior_token_ids.items()},
        "schedule": group.schedule._asdict(),
        "rollouts": [
            {
                "id": rollout.id,
                "tokens": len(rollout),
                "end": rollout.end,
                "seed": rollout.seed,
                "junior": rollout.junior,
                "translated": rollout.breaks is not None,
                "text": rollout.text,
                "stop_reasons": {str(author): reason for author, reason in rollout.stop_reasons.items()},
            }
            for rollout in group.rollouts
        ],
        "judgements": [asdict(judgement) for judgement in group.judgements],
    }


class _Reader:
    """Reads an array piece by piece."""

    def __init__(self, array: np.ndarray) -> None:
        self._array, self._read = array, 0

    def next(self, count: int) -> np.ndarray:
        """Return the next `count` entries."""
        self._read += count
        return self._array[self._read - count : self._read]


def _group(fields: dict[str, Any], arrays: dict[str, _Reader]) -> Group:
    """Return the group with the `fields` that are no arrays, and the next parts of the arrays."""
    size = len(fields["rollouts"])
    prompt_ids = arrays["prompt_ids"].next(fields["prompt_tokens"])
    junior_prompts = {int(junior): tuple(ids) for junior, ids in fields["junior_prompts"].items()}
    return Group(
        Prompt(_problem(fields["problem"]), tuple(prompt_ids.tolist()), junior_prompts, fields["opening"]),
        [_rollout(each, prompt_ids, arrays) for each in fields["rollouts"]],
        Schedule(**fields["schedule"]),
        [Judgement(**each | {"verdict": Verdict(each["verdict"])}) for each in fields["judgements"]],
        arrays["rewards"].next(size),
        {name.removeprefix("reward_terms/"): arrays[name].next(size) for name in arrays if name.startswith("reward_terms/")},
        arrays["advantages"].next(size),
    )


def _problem(fields: dict[str, Any]) -> Problem:
    return Problem(**fields | {"history": tuple((role, content) for role, content in fields.get("history", ()))})


def _rollout(fields: dict[str, Any], prompt_ids: np.ndarray, arrays: dict[str, _Reader]) -> Rollout:
    def reasons() -> Iterator[tuple[int, StopReason | None]]:
        for author, reason in fields["stop_reasons"].items():
            yield int(author), None if reason is None else StopReason(reason)

    per_token: dict[str, Any] = {name: arrays[name].next(fields["tokens"]) for name in PER_TOKEN}
    return Rollout(
        id=fields["id"],
        prompt_ids=prompt_ids,
        **per_token,
        end=EndReason(fields["end"]),
        seed=fields["seed"],
        breaks=arrays["breaks"].next(fields["tokens"]).astype(bool) if fields["translated"] else None,
        text=fields["text"],
        junior=fields["junior"],
        stop_reasons=dict(reasons()),
    )
