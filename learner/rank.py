"""One rank of the learner: a plain class that `learner.group` runs as a Ray actor."""

from __future__ import annotations

import gzip
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from ray.actor import ActorHandle
from ray.util import get_node_ip_address
from safetensors import SafetensorError
from torch.profiler import ProfilerActivity, profile, record_function
from transformers.utils.logging import disable_progress_bar

from learner import canary, checkpoint
from learner.policy import Policy
from learner.publish import Publisher
from learner.reference import AdapterOff, FrozenCopy, Reference
from learner.sequence_parallel import SequenceParallel, window_mask
from learner.update import Updater
from learner.zero import build_engine, join_process_group, partitioned_loading
from tandem.batching import RankPlan
from tandem.config.learner import LoraConfig
from tandem.config.schema import Config
from tandem.runtime.disk import disk_failure
from tandem.runtime.imports import freeze_imports
from tandem.runtime.processes import PeakMemory, ProcessLocation, peak_host_bytes, process_location
from tandem.runtime.weights import SHM, PublishedWeights


@dataclass(frozen=True)
class RankSpec:
    """What a rank needs besides the configuration."""

    rank: int
    ranks: int
    model_path: str
    """the Hugging Face directory or hub id to start from"""
    segment_path: Path
    """where rank 0 publishes, through shared memory"""
    transport: str = SHM
    """how weights reach the engines"""
    device: str = "cpu"
    """`cpu` or `cuda`"""
    shares_gpu: bool = False
    """whether engines use the same GPU"""
    threads: int = 1
    reference_path: str = ""
    """the directory or hub id of the reference of the Kullback-Leibler term; empty: `model_path`"""


class Rank:
    """One member of the learner's process group.

    The methods are collective: all ranks must call them. Exceptions are `rendezvous`, `process_location`, `peak_memory`,
    `start_profile` and `stop_profile`.
    """

    _sequence: SequenceParallel | None = None

    def __init__(self, config: Config, spec: RankSpec) -> None:
        torch.set_num_threads(spec.threads)
        disable_progress_bar()  # only the driver writes to the terminal
        freeze_imports()  # DeepSpeed collects garbage again and again
        self.config, self.spec = config, spec
        self._profiler: profile | None = None

    def rendezvous(self) -> tuple[str, int]:
        """Return this process's address and a free port, where all ranks meet."""
        with socket.create_server(("", 0)) as server:
            port: int = server.getsockname()[1]
        return get_node_ip_address(), port

    def process_location(self) -> ProcessLocation:
        """Return where this rank runs."""
        return process_location()

    def join(self, address: str, port: int) -> None:
        """Join the process group at rank 0's `rendezvous`."""
        os.environ |= {
            "RANK": str(self.spec.rank),
            "WORLD_SIZE": str(self.spec.ranks),
            "LOCAL_RANK": "0",  # Ray shows an actor only the GPU it was given
            "MASTER_ADDR": address,
            "MASTER_PORT": str(port),
        }
        join_process_group(self.spec.device, self.config.learner.timeout_s)

    def load(self, saved: Path | None = None) -> None:
        """Load the model and partition it over the ranks; restore the state in the folder `saved` if one is given."""
        learner, spec = self.config.learner, self.spec
        self.layout = checkpoint.Layout.of(learner)
        size = learner.sequence_parallel
        self._sequence = SequenceParallel(size, learner.timeout_s) if size > 1 else None
        policy = self._policy(spec.model_path, lora=learner.lora, gradient_checkpointing=learner.gradient_checkpointing)
        load_universal = saved is not None and not self.layout.reads(checkpoint.saved_layout(saved))
        engine, optimizer = build_engine(policy, learner, load_universal=load_universal)
        counts = {} if saved is None else checkpoint.load(engine, optimizer, learner, saved)
        reference: Reference | None = None
        if self.config.algo.kl_coef:
            path = spec.reference_path or spec.model_path
            if policy.adapter and path == spec.model_path:
                reference = AdapterOff(engine, policy.adapter)
            else:
                reference = FrozenCopy(self._policy(path), learner, engine.device)
        self.updater = Updater(engine, optimizer, self.config, reference, **counts)
        self.publisher = Publisher(
            policy.model,
            spec.segment_path,
            policy.adapter,
            adapter_alone=learner.lora.sent_alone,
            bucket_bytes=learner.publish_bucket_mib << 20,
            rank=spec.rank,
            transport=spec.transport,
            threads=spec.threads,
            engine_gpus=self.config.rollout.senior_tensor_parallel,
        )
        self._empty_cache()

    def _policy(self, path: str, *, lora: LoraConfig | None = None, gradient_checkpointing: bool = False) -> Policy:
        """Load the model at `path`, with an adapter if `lora` sets a rank."""
        with partitioned_loading(self.config.learner):
            return Policy(
                path,
                dtype=getattr(torch, self.config.learner.dtype),
                temperature=self.config.rollout.sampling.temperature,
                chunk=self.config.learner.logprob_chunk_tokens,
                gradient_checkpointing=gradient_checkpointing,
                lora=lora,
                seed=self.config.seed,
                sequence=self._sequence,
            )

    def update(self, plan: RankPlan, step: int) -> dict[str, float]:
        """Train on `plan`, this rank's share of training step `step`, and return the step's metrics."""
        with record_function("update"):
            update_metrics = self.updater.update(plan, step)
        self._empty_cache()
        return update_metrics

    def _empty_cache(self) -> None:
        """Free what only an update needs; if engines share the GPU, return its cached memory."""
        window_mask.cache_clear()
        if self.spec.shares_gpu:
            torch.cuda.empty_cache()

    def connect(self, engines: Sequence[ActorHandle]) -> None:
        """Connect to the rollout actors that receive the weights."""
        self.publisher.connect(engines)

    def publish(self, version: int) -> PublishedWeights | None:
        """Send the current weights as `version`. Return None on all ranks but 0."""
        with record_function("publish"):
            return self.publisher.publish(version)

    def text_logprobs(self, texts: Sequence[Sequence[int]]) -> list[float]:
        """Return the log-probabilities of the tokens of `texts` after the first of each, at temperature 1."""
        return canary.text_logprobs(self.updater.engine, texts)

    def start_profile(self) -> None:
        """Start torch's profiler."""
        on_gpu = [ProfilerActivity.CUDA] if self.spec.device == "cuda" else []
        self._profiler = profile(activities=[ProfilerActivity.CPU, *on_gpu])
        self._profiler.start()

    def stop_profile(self) -> bytes:
        """Return the profile as a Chrome trace compressed with gzip; empty if this rank did not start one."""
        if self._profiler is None:
            return b""
        self._profiler.stop()
        with TemporaryDirectory() as folder:
            self._profiler.export_chrome_trace(str(path := Path(folder) / "trace.json"))
            self._profiler = None
            return gzip.compress(path.read_bytes(), compresslevel=1)

    def peak_memory(self) -> PeakMemory:
        """Return this rank's peak memory so far."""
        return PeakMemory(peak_host_bytes(), torch.cuda.max_memory_allocated() if self.spec.device == "cuda" else 0)

    def save(self, folder: Path) -> OSError | None:
        """Write this rank's part of the checkpoint. Return the disk's error, if any."""
        counts = {"skipped_in_a_row": self.updater.skipped_in_a_row}
        return checkpoint.save(self.updater.engine, self.layout, folder, counts)

    def export(self, path: Path, whole: bool = False) -> OSError | None:
        """Write the current weights as a Hugging Face directory, an adapter as `learner.lora.merged_export` says or `whole`.

        Return the disk's error, if any.
        """
        try:
            self.publisher.export(path, self.spec.model_path, merged=whole or self.config.learner.lora.merged_export)
        except (OSError, SafetensorError) as error:
            if failure := disk_failure(error):
                return failure
            raise
        return None

    def close(self) -> None:
        """Remove the published weights and leave the process group."""
        self.publisher.close()
        dist.destroy_process_group()
