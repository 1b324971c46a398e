"""Import the libraries and compare kernels of torch and vLLM with float64. `python -m launch.gpu_stages.kernels`.

Prints one JSON object: seconds of the imports, and each kernel's largest relative error.
"""

from __future__ import annotations

import importlib
import json
import sys
import time

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from actors.fork_server import set_vllm_environment

LIBRARIES = ("transformers", "ray", "deepspeed", "vllm")
SIZE = 256
TOLERANCE = 0.02
"""The largest error of a kernel in bfloat16, relative to the largest value of its result."""


def main() -> int:
    """Print the findings; return 1 if a kernel is wrong."""
    set_vllm_environment()
    figures: dict[str, float | str] = {}
    for library in LIBRARIES:
        start = time.perf_counter()
        importlib.import_module(library)
        figures[f"import_{library}_s"] = round(time.perf_counter() - start, 1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    errors = kernel_errors(device)
    figures["device"] = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    print(json.dumps(figures | errors))
    wrong = [name for name, error in errors.items() if not error <= TOLERANCE]
    if wrong:
        print(f"wrong: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def kernel_errors(device: str) -> dict[str, float]:
    """Return the relative error of each kernel on `device`, in bfloat16."""
    torch.manual_seed(0)
    a, b = (torch.randn(SIZE, SIZE, device=device, dtype=torch.bfloat16) for _ in range(2))
    q, k, v = (torch.randn(1, 4, SIZE, 64, device=device, dtype=torch.bfloat16) for _ in range(3))
    attention = scaled_dot_product_attention(q, k, v, is_causal=True)
    errors = {
        "matmul_error": _error(a @ b, a.double() @ b.double()),
        "attention_error": _error(attention, scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=True)),
        "fused_adamw_error": _adamw_error(device),
    }
    if device == "cuda":
        errors["vllm_rms_norm_error"] = _rms_norm_error(a)
    return errors


def _error(result: Tensor, expected: Tensor) -> float:
    return float(f"{((result.double() - expected).abs().max() / expected.abs().max()).item():.2g}")


def _adamw_error(device: str) -> float:
    """Return the error of a step of the fused AdamW against the plain one."""
    start, gradient = torch.randn(SIZE, device=device), torch.randn(SIZE, device=device)
    stepped = []
    for fused in (True, False):
        parameter = start.clone().requires_grad_()
        parameter.grad = gradient.clone()
        torch.optim.AdamW([parameter], lr=0.1, fused=fused, foreach=False).step()
        stepped.append(parameter.detach())
    return _error(stepped[0], stepped[1].double())


def _rms_norm_error(rows: Tensor) -> float:
    """Return the error of vLLM's RMSNorm."""
    from vllm import _custom_ops

    result, weight = torch.empty_like(rows), torch.ones(rows.shape[1], device=rows.device, dtype=rows.dtype)
    _custom_ops.rms_norm(result, rows, weight, 1e-6)
    exact = rows.double()
    return _error(result, exact * (exact.square().mean(-1, keepdim=True) + 1e-6).rsqrt())


if __name__ == "__main__":
    sys.exit(main())
