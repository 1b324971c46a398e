"""One author's vLLM engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

from vllm import SamplingParams
from vllm.config import ProfilerConfig, WeightTransferConfig
from vllm.distributed.weight_transfer.base import WeightTransferInitRequest, WeightTransferUpdateRequest
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.engine.protocol import StreamingInput
from vllm.inputs import TokensPrompt
from vllm.outputs import RequestOutput
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from actors.engine_death import cause_of_death
from actors.engine_session import EngineSession
from actors.engine_spec import EngineSpec
from actors.engine_worker import BoundExecutor
from tandem.cogeneration import AuthorFailed
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import ConfigError
from tandem.rollout import BASE_VERSION, FROZEN_VERSION, SENIOR
from tandem.runtime.weights import IPC, SHM, PublishedWeights

T = TypeVar("T")
FORBIDDEN = -100.0
"""vLLM's lowest bias of a logit."""


class Engine:
    """A stock vLLM engine that writes for one author and follows the schedule."""

    STEP_TOKENS: ClassVar = {"cpu": 512, "cuda": 8192}
    """the most tokens that it computes in a step, by device. While many prompts pass through one engine at once, the other runs
    out of rollouts; then all of them come to it together, and so on: short steps keep both busy."""
    SCHEDULERS: ClassVar = {
        "cpu": "actors.handoff_scheduler.HandoffScheduler",
        "cuda": "actors.handoff_scheduler.AsyncHandoffScheduler",
    }
    """what ends turns, by device"""
    PROFILED_STEPS: ClassVar = 40
    """the steps that are profiled: a rollout takes hundreds, each with an event for every operation"""
    WEIGHTS: ClassVar = "weights"
    KV_CACHE: ClassVar = "kv_cache"
    """vLLM's names for the memory that an engine gives back while it sleeps"""
    LOOK_S: ClassVar = 0.5
    """how often it is looked whether the process lives while it is to answer"""

    def __init__(self, spec: EngineSpec) -> None:
        """Starts the engine's process and waits until it answers (blocking: run it in a thread)."""
        self.spec = spec
        self.version = BASE_VERSION if spec.author == SENIOR else FROZEN_VERSION
        """The version of the weights the engine computes with."""
        self._transferred = False
        """whether weights came that the engine has not been told the version of"""
        self._given_back: frozenset[str] = frozenset()
        """the kinds of GPU memory that it sleeps without"""
        on_cpu = spec.device == "cpu"
        self._profiles = TemporaryDirectory(prefix="tandem-profile-") if spec.profiled else None
        if spec.transport == IPC:
            # Memory handles pass between the engine's own processes as pickles, which vLLM refuses unless told otherwise.
            os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"
        args = AsyncEngineArgs(
            model=spec.model,
            dtype=spec.dtype,
            seed=spec.seed,
            max_model_len=spec.max_model_len,
            max_num_seqs=spec.max_num_seqs,
            max_num_batched_tokens=max(
                self.STEP_TOKENS[spec.device], 2 * spec.max_num_seqs, spec.max_model_len if on_cpu else 0
            ),
            # After each part of a prompt vLLM draws a token and turns the request's noise back again. On CPU, noise that has a
            # seed of its own cannot be turned back: it would end the engine.
            enable_chunked_prefill=not on_cpu,
            enforce_eager=spec.enforce_eager,
            # On CPU, vLLM's rotary kernel for bfloat16 stores to addresses aligned to 16 bytes only, and crashes where half of
            # the rotated width is no multiple of 8, as in StableLM-3B. torch rotates instead.
            compilation_config={"custom_ops": ["-rotary_embedding"] if on_cpu and spec.dtype == "bfloat16" else []},
            kv_cache_memory_bytes=int(spec.kv_cache_gib * 2**30) if on_cpu else None,
            gpu_memory_utilization=spec.gpu_memory_fraction,
            enable_sleep_mode=spec.sleeps and not on_cpu,  # vLLM's workers on CPU take the calls and keep their memory
            tensor_parallel_size=len(spec.gpus) or 1,
            # Not Ray, which vLLM would take in a placement group: it holds no place for the workers.
            distributed_executor_backend=BoundExecutor if on_cpu else "mp" if len(spec.gpus) > 1 else "uni",
            # Log-probabilities of the very distribution that is sampled from: temperature applied.
            logprobs_mode="processed_logprobs",
            scheduler_cls=self.SCHEDULERS[spec.device],
            stream_interval=spec.stream_interval,
            # Prompts come as tokens and tokens go out; vLLM would ask its tokenizer something at every turn.
            skip_tokenizer_init=True,
            weight_transfer_config=None if spec.transport == SHM else WeightTransferConfig(backend=spec.transport),
            worker_extension_cls="actors.engine_worker.WeightReceiver",
            additional_config=spec.carried(),
            profiler_config=self._profiling(),
            async_scheduling=not on_cpu,
            enable_log_requests=False,
            disable_log_stats=True,
        )
        self._llm = AsyncLLM.from_engine_args(args)
        width = self._llm.model_config.get_vocab_size()
        self.forbidden = dict.fromkeys(range(width if spec.readable is None else spec.readable, width), FORBIDDEN)
        """What is added to the logits of ids that must not be sampled."""

    def _profiling(self) -> ProfilerConfig:
        """How vLLM is told to profile its workers: operations without the Python around them."""
        if self._profiles is None:
            return ProfilerConfig()
        folder = self._profiles.name
        return ProfilerConfig("torch", torch_profiler_dir=folder, torch_profiler_with_stack=False, ignore_frontend=True)

    @property
    def rollouts_that_fit(self) -> int:
        """How many rollouts of full length the engine can hold at once: as its request slots and its KV cache allow.

        Raises `ConfigError` when not even one fits.
        """
        cache = self._llm.vllm_config.cache_config
        blocks_each = -(-self.spec.max_model_len // cache.block_size)
        fit = min(self.spec.max_num_seqs, ((cache.num_gpu_blocks or 0) - 1) // blocks_each)
        if fit < 1:
            key = "kv_cache_gib" if self.spec.device == "cpu" else "gpu_memory_fraction"
            raise ConfigError(
                f"rollout.{key}={getattr(self.spec, key)}: the KV cache does not hold one text of {self.spec.max_model_len} "
                "tokens; raise it"
            )
        return fit

    def session(self, rollout_id: str, sampling: SamplingConfig, noise_seed: int | None = None) -> EngineSession:
        """A new session for one rollout; with a seed its sampling noise is a function of that seed alone.

        Raises `RuntimeError` while the engine sleeps.
        """
        self._must_be_awake()
        return EngineSession(self, rollout_id, sampling, noise_seed)

    def generate(
        self, stream: AsyncGenerator[StreamingInput, None], params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput, None]:
        """vLLM's own generation, for the session."""
        return self._llm.generate(stream, params, request_id)

    async def receive_weights(self, published: PublishedWeights) -> int:
        """Takes published weights; returns the version the engine then reports.

        Rollouts in flight pause meanwhile and go on with the new weights, over the KV cache that the old ones left; each token
        keeps the version that it was sampled from. An engine that sleeps wakes. Raises whatever the loading raises, and
        `RuntimeError` when weights that vLLM was to transfer have not come; the engine then writes no more.
        """
        if published.transport == SHM:
            await self._wake(self.WEIGHTS)
            await self.pause()
            await self.map_weights(published)
            await self.check_weights()
            await self.load_weights()
        elif not self._transferred:
            raise RuntimeError(f"version {published.version} of the weights has not come by {published.transport}")
        self._transferred = False
        await self._llm.update_weight_version(str(published.version))
        before, self.version = self.version, int(await self._llm.get_weight_version())
        if self.version <= before:  # another run's, which must not share what its namesake has read
            await self._llm.reset_prefix_cache()
        await self.wake()
        await self._llm.resume_generation()
        return self.version

    async def sleep(self) -> None:
        """Gives the GPU memory of weights and KV cache back; nothing may be in flight. Weights that come wake it.

        The weights wait in the CPU's memory, those of the senior too: what is published holds no more than parameters. Raises
        `RuntimeError` unless the spec says that it sleeps.
        """
        if not self.spec.sleeps:
            raise RuntimeError(f"the engine of {self.spec.model} was not started to sleep")
        await self._llm.sleep(level=1)
        self._given_back = frozenset({self.WEIGHTS, self.KV_CACHE})

    async def wake(self) -> None:
        """Takes back what it gave; no effect on an engine that is awake."""
        await self._wake(self.WEIGHTS, self.KV_CACHE)

    async def _wake(self, *memory: str) -> None:
        if wanted := self._given_back.intersection(memory):
            await self._llm.wake_up(sorted(wanted))
            self._given_back -= wanted

    def _must_be_awake(self) -> None:
        if self._given_back:
            raise RuntimeError(f"the engine of {self.spec.model} sleeps, until it is woken or new weights come")

    async def pause(self) -> None:
        """Stops writing; requests and their KV entries stay."""
        await self._llm.pause_generation(mode="keep", clear_cache=False)

    async def map_weights(self, published: PublishedWeights) -> None:
        """Maps published weights in shared memory into the engine's process."""
        await self._llm.collective_rpc("map_weights", args=(published.encode(),))

    async def check_weights(self) -> None:
        """Raises an error when what was mapped is not what was published: nothing is loaded then."""
        await self._llm.collective_rpc("check_weights")

    async def load_weights(self) -> None:
        """Loads what was mapped, packed as the engine computes with it."""
        await self._llm.collective_rpc("load_weights")

    async def transfer(self, step: str, info: Any) -> None:
        """A step of vLLM's own weight transfer: the learner asks to `init` it and, for each version, to `start`, to `update`
        with what comes and to `finish`. The engine pauses at the start and goes on when it is told the version; of one that
        sleeps, all but the KV cache wakes at the start.
        """
        match step:
            case "init":
                await self._llm.init_weight_transfer_engine(WeightTransferInitRequest(init_info=info))
            case "start":
                await self._wake(self.WEIGHTS)
                await self.pause()
                await self._llm.start_weight_update()
            case "update":
                await self._llm.update_weights(WeightTransferUpdateRequest(update_info=info))
            case "finish":
                await self._llm.finish_weight_update()
                self._transferred = True
            case _:
                raise ValueError(f"{step!r} is no step of a weight transfer")

    async def weights_checksum(self) -> str:
        """A fingerprint of the weights the engine computes with. Raises `RuntimeError` while it sleeps."""
        self._must_be_awake()
        return (await self._llm.collective_rpc("weights_checksum"))[0]

    async def kv_usage(self) -> float:
        """The largest share of the KV cache that was in use since this was last asked."""
        return (await self._llm.collective_rpc("kv_usage"))[0]

    async def start_profile(self) -> None:
        """Profiles the engine's next `PROFILED_STEPS` steps; the spec must say that it can be."""
        await self._llm.start_profile(max_iterations=self.PROFILED_STEPS)

    async def stop_profile(self) -> list[bytes]:
        """What the profiler saw, of each of the engine's workers: Chrome traces compressed with gzip."""
        await self._llm.stop_profile()
        assert self._profiles is not None
        paths = sorted(Path(self._profiles.name).glob("*.json.gz"))
        profiles = [path.read_bytes() for path in paths]
        for path in paths:
            path.unlink()
        return profiles

    @property
    def pid(self) -> int:
        """The engine's process."""
        return self._process.pid

    @property
    def _process(self) -> Any:
        (process,) = self._llm.engine_core.resources.engine_manager.processes
        return process

    async def lost(self) -> AuthorFailed:
        """Return the error that says that this engine died, and why."""
        why = await asyncio.to_thread(cause_of_death, self._process)
        return AuthorFailed(f"its engine of {self.spec.model} died: {why}")

    async def unless_dead(self, call: Coroutine[Any, Any, T]) -> T:
        """Return what `call` to this engine returns.

        Raises `AuthorFailed` when the engine's process dies before it answers, where vLLM would wait for ever.
        """
        task = asyncio.ensure_future(call)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=self.LOOK_S)
                if not task.done() and self._llm.engine_core.resources.engine_dead:
                    raise EngineDeadError
            return task.result()
        except EngineDeadError as error:
            raise await self.lost() from error
        finally:
            task.cancel()

    async def prompt_logprobs(self, token_ids: Sequence[int], request_id: str) -> list[float]:
        """log p(token | tokens before it), in nats, of all tokens but the first; temperature 1.

        Raises `RuntimeError` while the engine sleeps.
        """
        self._must_be_awake()
        params = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False, skip_reading_prefix_cache=True)
        final: RequestOutput | None = None
        async for output in self._llm.generate(TokensPrompt(prompt_token_ids=list(token_ids)), params, request_id):
            final = output
        assert final is not None and final.prompt_logprobs is not None
        return [entry[token].logprob for token, entry in zip(token_ids[1:], final.prompt_logprobs[1:], strict=True) if entry]

    def close(self) -> None:
        """Ends the engine's process."""
        self._llm.shutdown()
        # vLLM shuts down once more when collected; at the interpreter's end that would fail.
        del self._llm
        if self._profiles is not None:
            self._profiles.cleanup()


def quiet_environment() -> None:
    """Settings vLLM reads from the environment, for this process and the engines it starts."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
