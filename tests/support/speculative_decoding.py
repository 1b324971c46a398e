"""Speculative decoding by vLLM in this process: `python -m tests.support.speculative_decoding SETTINGS`, which prints JSON."""

from __future__ import annotations

import json
import os
import sys

from vllm import LLM, SamplingParams
from vllm.inputs import TokensPrompt
from vllm.v1.sample import rejection_sampler

from actors.engine_worker import expand_batch_to_tokens


def main() -> None:
    settings = json.loads(sys.argv[1])
    rejection_sampler.expand_batch_to_tokens = expand_batch_to_tokens
    prompts, tokens = settings["prompts"], settings["sampling"]["max_tokens"]
    draft = {"method": "draft_model", "model": settings["draft"], "num_speculative_tokens": settings["draft_tokens"]}
    engine = LLM(
        model=settings["target"],
        dtype="float32",
        enforce_eager=True,
        max_model_len=len(prompts[0]) + tokens,  # no draft extends beyond the end of a text
        max_num_seqs=1,  # on CPUs, vLLM 0.32 mixes up the drafts of requests that run at the same time
        disable_log_stats=False,
        speculative_config={**draft, "draft_sample_method": "probabilistic"},
    )
    sampling = SamplingParams(**settings["sampling"], ignore_eos=True, detokenize=False)
    outputs = engine.generate([TokensPrompt(prompt_token_ids=prompt) for prompt in prompts], sampling, use_tqdm=False)
    counters = {metric.name: metric.value for metric in engine.get_metrics() if hasattr(metric, "value")}
    result = {
        "drafts": counters["vllm:spec_decode_num_drafts"],
        "accepted": counters["vllm:spec_decode_num_accepted_tokens"],
        "texts": [list(output.outputs[0].token_ids) for output in outputs],
    }
    print(f"\n{json.dumps(result)}", flush=True)


if __name__ == "__main__":
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}
    main()
