"""A vLLM engine of one author, or of both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

from vllm import SamplingParams
from vllm.distributed.weight_transfer.base import WeightTransferInitRequest, WeightTransferUpdateRequest
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.inputs import TokensPrompt
from vllm.outputs import RequestOutput
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from actors.admission import KVCache, KVUse
from actors.engine_adapter import adapter_request
from actors.engine_death import cause_of_death
from actors.engine_session import EngineSession
from actors.engine_spec import EngineSpec
from actors.partner_link import turns_address
from actors.turn_exchange import TurnExchange
from actors.vllm_arguments import vllm_arguments
from tandem.cogeneration import AuthorFailed
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import ConfigError
from tandem.rollout import BASE_VERSION, FROZEN_VERSION, SENIOR
from tandem.runtime.errors import RunError
from tandem.runtime.weights import IPC, SHM, PublishedWeights

T = TypeVar("T")
LOWEST_BIAS = -100.0
"""vLLM's lowest bias of a logit: the id is never sampled."""


class Engine:
    """A stock vLLM engine, which follows the schedule.

    It writes for one author. With an adapter, the senior's may write for the junior too: the base without the adapter.
    """

    PROFILED_STEPS: ClassVar = 40
    """The number of profiled steps, those that wait for turns included: a rollout takes hundreds, each with an event for every
    operation."""
    WEIGHTS: ClassVar = "weights"
    KV_CACHE: ClassVar = "kv_cache"
    """vLLM's names for the memory that a sleeping engine has freed."""
    POLL_S: ClassVar = 0.5
    """The seconds between two checks that the process is alive during a call."""

    def __init__(self, spec: EngineSpec) -> None:
        """Start the engine's process and wait until it answers. Blocks: call it in a thread."""
        self.spec = spec
        self.version = BASE_VERSION if spec.author == SENIOR else FROZEN_VERSION
        """The version of the weights that the engine computes with."""
        self._transferring = self._transferred = False
        """whether a transfer of weights has begun, and whether it has ended, but their version is not yet set"""
        self._freed: frozenset[str] = frozenset()
        """the kinds of GPU memory that are free while the engine sleeps"""
        self._profiles = TemporaryDirectory(prefix="tandem-profile-") if spec.profiled else None
        if spec.transport == IPC:
            # The engine's processes exchange memory handles as pickles, which vLLM refuses by default.
            os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"
        self.adapter = adapter_request(spec)
        """the adapter of the senior's requests"""
        self._llm = self._start()
        self.exchange = TurnExchange(self._llm)
        width = self._llm.model_config.get_vocab_size()
        self.logit_bias = dict.fromkeys(range(width if spec.id_limit is None else spec.id_limit, width), LOWEST_BIAS)
        """Added to the logits of ids that must not be sampled."""

    def _start(self) -> AsyncLLM:
        given = self.spec.engine_args
        try:
            return AsyncLLM.from_engine_args(self._arguments())
        except (TypeError, ValueError) as error:
            if not given:
                raise
            raise ConfigError(f"rollout.engine_args={given}: the engine of {self.spec.model} refuses them: {error}") from error

    def _arguments(self) -> AsyncEngineArgs:
        """Return the arguments of vLLM's engine; benchmarks override it."""
        return vllm_arguments(self.spec, self._profiles.name if self._profiles else None)

    def kv_cache(self) -> KVCache:
        """Return the engine's KV cache. Raises `ConfigError` when it does not hold one text of full length."""
        config, longest = self._llm.vllm_config.cache_config, self.spec.max_model_len
        blocks = (config.num_gpu_blocks or 0) - 1  # vLLM keeps a block for itself
        cache = KVCache(blocks, config.block_size, longest, self.spec.sessions)
        if cache.blocks < cache.blocks_of(1.0):
            key = "kv_cache_gib" if self.spec.device == "cpu" else "gpu_memory_fraction"
            raise ConfigError(
                f"rollout.{key}={getattr(self.spec, key)}: the KV cache does not hold one text of {longest} tokens"
                f"{' for each author' if self.spec.shared else ''}; raise it"
            )
        return cache

    def session(
        self,
        rollout_id: str,
        sampling: SamplingConfig,
        noise_seed: int | None = None,
        age_rank: int = 0,
        *,
        frozen: bool = False,
    ) -> EngineSession:
        """Return a session for one rollout; with `noise_seed` its sampling noise depends on that alone.

        Where the KV cache is short, rollouts of a smaller `age_rank` come first. A `frozen` session is the junior's, also in
        the senior's engine. Raises `RuntimeError` while the engine sleeps.
        """
        self._require_awake()
        return EngineSession(self, rollout_id, sampling, noise_seed, age_rank, frozen=frozen)

    def generate(self, prompt: TokensPrompt, params: SamplingParams, request_id: str) -> AsyncGenerator[RequestOutput, None]:
        """Start a request of its own, without a session, and return its outputs."""
        return self._llm.generate(prompt, params, request_id, lora_request=self.adapter)

    async def text_logprobs(self, text: Sequence[int], request_id: str) -> list[float]:
        """Return the log-probabilities of the tokens of `text` after the first, at temperature 1."""
        # Blocks in the prefix cache may be of other weights.
        params = SamplingParams(prompt_logprobs=0, max_tokens=1, detokenize=False, skip_reading_prefix_cache=True)
        async for output in self.generate(TokensPrompt(prompt_token_ids=list(text)), params, request_id):
            logprobs = output.prompt_logprobs
        assert logprobs is not None
        return [entry[token].logprob for token, entry in zip(text[1:], list(logprobs)[1:], strict=True) if entry]

    async def reset_adapter(self) -> None:
        """Write as the base model until weights arrive. Call it once on an engine with an adapter, before its first request."""
        await self._llm.collective_rpc("reset_adapter")

    async def receive_weights(self, published: PublishedWeights) -> int:
        """Load published weights and return the version that the engine then reports. Wakes the engine.

        Rollouts in flight pause and then continue with the new weights, on the KV cache of the old ones; each token keeps the
        version that it was sampled from. Raises what loading raises, and `RuntimeError` when vLLM has transferred no weights;
        the engine then stays paused.
        """
        if published.transport == SHM:
            await self._wake(self.WEIGHTS)
            await self.pause()
            await self.map_weights(published)
            await self.check_weights()
            await self.load_weights()
        elif not self._transferred:
            raise RuntimeError(f"version {published.version} of the weights was not received by {published.transport}")
        self._transferred = False
        await self._llm.update_weight_version(str(published.version))
        before, self.version = self.version, int(await self._llm.get_weight_version())
        if self.version <= before:  # of another run: its prefixes must not be shared
            await self._llm.reset_prefix_cache()
        await self.wake()
        await self._llm.resume_generation()
        return self.version

    async def sleep(self) -> None:
        """Free the GPU memory of weights and KV cache until `wake` or `receive_weights`; no request may be in flight.

        The weights move to the CPU's memory, the senior's too, since published weights hold only parameters. Raises
        `RuntimeError` unless `spec.sleeps`.
        """
        if not self.spec.sleeps:
            raise RuntimeError(f"the engine of {self.spec.model} was not started with sleep enabled")
        await self._llm.sleep(level=1)
        self._freed = frozenset({self.WEIGHTS, self.KV_CACHE})

    async def wake(self) -> None:
        """Allocate the GPU memory that `sleep` freed; do nothing on an engine that is awake."""
        await self._wake(self.WEIGHTS, self.KV_CACHE)

    async def _wake(self, *memory: str) -> None:
        if freed := self._freed.intersection(memory):
            await self._llm.wake_up(sorted(freed))
            self._freed -= freed

    def _require_awake(self) -> None:
        if self._freed:
            raise RuntimeError(f"the engine of {self.spec.model} is asleep; wake it or send it weights")

    async def pause(self) -> None:
        """Stop writing; keep requests and their KV entries."""
        await self._llm.pause_generation(mode="keep", clear_cache=False)

    async def map_weights(self, published: PublishedWeights) -> None:
        """Map published weights in shared memory into the engine's process."""
        await self._llm.collective_rpc("map_weights", args=(published.encode(),))

    async def check_weights(self) -> None:
        """Raise `RuntimeError` unless the mapped weights have the published checksum."""
        await self._llm.collective_rpc("check_weights")

    async def load_weights(self) -> None:
        """Load the mapped weights and pack them as the engine computes with them."""
        await self._llm.collective_rpc("load_weights")

    async def transfer(self, step: str, info: Any) -> None:
        """Run one step of vLLM's weight transfer for the learner: `init` once, then `start`, `update` and `finish` per version.

        The engine pauses at `start` and continues after `receive_weights`. `start` wakes all but the KV cache. A restarted
        learner begins with `init` again. Raises `RunError` if the previous learner died during a transfer: the engine's
        workers may wait for that learner forever.
        """
        match step:
            case "init" if self._transferring:
                raise RunError(
                    f"the learner died while it sent weights to the engine of {self.spec.model}, which cannot continue; resume "
                    "the run"
                )
            case "init":
                await self._llm.collective_rpc("shutdown_weight_transfer_engine")
                await self._llm.init_weight_transfer_engine(WeightTransferInitRequest(init_info=info))
            case "start":
                self._transferring = True
                await self._wake(self.WEIGHTS)
                await self.pause()
                await self._llm.start_weight_update()
            case "update":
                await self._llm.update_weights(WeightTransferUpdateRequest(update_info=info))
            case "finish":
                await self._llm.finish_weight_update()
                self._transferring, self._transferred = False, True
            case _:
                raise ValueError(f"{step!r} is not a step of a weight transfer")

    async def weights_checksum(self, author: int) -> str:
        """Return a checksum of the weights that the engine's workers compute with for `author`.

        Raises `RuntimeError` while the engine sleeps.
        """
        self._require_awake()
        return "-".join(await self._llm.collective_rpc("weights_checksum", args=(author == SENIOR,)))

    async def kv_use(self) -> KVUse:
        """Return the use of the KV cache since the last call."""
        return KVUse(*(await self._llm.collective_rpc("kv_use"))[0])

    async def reseed(self, seed: int) -> None:
        """Seed the noise of rollouts without a seed, as at the engine's start."""
        await self._llm.collective_rpc("reseed", args=(seed,))

    async def drafts(self) -> tuple[int, int]:
        """Return the numbers of drafted and of accepted tokens since the start."""
        drafted, accepted = (await self._llm.collective_rpc("drafts"))[0]
        return drafted, accepted

    async def start_profile(self) -> None:
        """Profile the next `PROFILED_STEPS` steps; requires `spec.profiled`."""
        await self._llm.start_profile(max_iterations=self.PROFILED_STEPS)

    async def stop_profile(self) -> list[bytes]:
        """Stop profiling and return a Chrome trace of each worker, compressed with gzip."""
        await self._llm.stop_profile()
        assert self._profiles is not None
        paths = sorted(Path(self._profiles.name).glob("*.json.gz"))
        profiles = [path.read_bytes() for path in paths]
        for path in paths:
            path.unlink()
        return profiles

    @property
    def pid(self) -> int:
        """The id of the engine's process."""
        return self._process.pid

    @cached_property
    def address(self) -> str:
        """Where the engine receives turns from other engines."""
        return turns_address(self.pid, self.spec.seed)

    @property
    def _process(self) -> Any:
        (process,) = self._llm.engine_core.resources.engine_manager.processes
        return process

    async def failure(self) -> AuthorFailed:
        """Return the error that says why the engine died."""
        cause = await asyncio.to_thread(cause_of_death, self._process)
        return AuthorFailed(f"its engine of {self.spec.model} died: {cause}")

    async def while_alive(self, call: Coroutine[Any, Any, T]) -> T:
        """Return the result of `call`, a coroutine of this engine.

        Raises `AuthorFailed` when the engine's process dies first, where vLLM would wait forever.
        """
        task = asyncio.ensure_future(call)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=self.POLL_S)
                if not task.done() and self._llm.engine_core.resources.engine_dead:
                    raise EngineDeadError
            return task.result()
        except EngineDeadError as error:
            raise await self.failure() from error
        finally:
            task.cancel()

    def close(self) -> None:
        """End the engine's process."""
        socket_file = Path(self.address)
        self._llm.shutdown()
        socket_file.unlink(missing_ok=True)
        # vLLM shuts down again when it is collected; at the interpreter's exit that would fail.
        del self._llm
        if self._profiles is not None:
            self._profiles.cleanup()
