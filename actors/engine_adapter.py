"""The senior's low-rank adapter in an engine that computes with base and adapter apart (vLLM's LoRA)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from torch import Tensor
from vllm.config.lora import MaxLoRARanks
from vllm.lora.lora_model import LoRAModel
from vllm.lora.peft_helper import PEFTHelper
from vllm.lora.request import LoRARequest

from actors.engine_spec import EngineSpec

_ID = 1
_REQUEST = LoRARequest("senior", _ID, "senior")


def adapter_arguments(spec: EngineSpec) -> dict[str, Any]:
    """Return the arguments of vLLM's engine for an adapter; none without one."""
    if not spec.lora_rank:
        return {}
    rank = next(rank for rank in sorted(get_args(MaxLoRARanks)) if rank >= spec.lora_rank)
    return {
        "enable_lora": True,
        "max_lora_rank": rank,
        # vLLM's kernels on CPUs compute a request without adapter with that of the last slot, which stays empty.
        "max_loras": 2 if spec.device == "cpu" else 1,
        # Not the head, with which vLLM 0.32 fails to compute the log-probabilities of several prompts.
        "lora_target_modules": list(spec.lora_targets),
    }


def adapter_request(spec: EngineSpec) -> LoRARequest | None:
    """Return what a request of the senior carries; None without an adapter.

    It is the same for all versions, so that rollouts in flight continue with new weights. vLLM's prefix cache does not tell the
    versions apart by it; the requests' salts do.
    """
    return _REQUEST if spec.lora_rank else None


def load_adapter(model_runner: Any, spec: EngineSpec, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Replace the adapter of `model_runner` by `tensors`, named as in a PEFT directory.

    Raises `RuntimeError` for a layer that vLLM's model does not have.
    """
    manager = model_runner.lora_manager._adapter_manager
    mapper = getattr(manager.model, "hf_to_vllm_mapper", None)
    adapter = LoRAModel.from_lora_tensors(
        _ID,
        {name: tensor.clone() for name, tensor in tensors},  # vLLM scales them in place
        PEFTHelper(spec.lora_rank, spec.lora_alpha, []),
        device="cpu",
        dtype=manager.lora_config.lora_dtype,
        weights_mapper=mapper.get_rename_mapper() if mapper else None,
    )
    manager.remove_adapter(_ID)
    manager.add_adapter(adapter)
    if unknown := sorted(adapter.loras.keys() - manager.modules.keys()):
        raise RuntimeError(
            f"vLLM's {type(manager.model).__name__} has no layer {unknown[0]} for the adapter; use learner.lora.sync=merged"
        )
    manager.activate_adapter(_ID)


def load_zero_adapter(model_runner: Any, spec: EngineSpec) -> None:
    """Replace the adapter of `model_runner` by one that changes nothing."""
    manager = model_runner.lora_manager._adapter_manager
    manager.remove_adapter(_ID)
    model_runner.lora_manager.add_dummy_lora(_REQUEST, spec.lora_rank)  # vLLM's own, of zeros
    manager.activate_adapter(_ID)


def adapter_tensors(model_runner: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of the adapters that `model_runner` computes with, with their names; none without adapters."""
    if manager := getattr(model_runner, "lora_manager", None):
        for name, module in manager._adapter_manager.modules.items():
            for half in ("lora_a_stacked", "lora_b_stacked"):
                yield from ((f"{name}.{half}.{index}", part) for index, part in enumerate(getattr(module, half)))
