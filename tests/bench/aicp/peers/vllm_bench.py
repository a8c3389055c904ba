"""`vllm bench serve`: the real benchmark module from vLLM's wheel; what it imports of the engine is made up."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.machinery
import json
import math
import sys
import time
import types
from unittest.mock import MagicMock

REAL = ("vllm.benchmarks", "vllm.utils.gc_utils")
MADE_UP = ("vllm", "PIL", "datasets", "pandas", "transformers", "huggingface_hub", "soundfile", "cv2")


class Engine:
    """Finds what is not there."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name.split(".")[0] in MADE_UP and not name.startswith(REAL):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = MagicMock(name=spec.name)
        module.__path__ = [f"{sys.argv[5]}/{spec.name.replace('.', '/')}"]
        module.__name__, module.__spec__ = spec.name, spec
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        return None


def main(url: str, concurrency: int, count: int, tokens: int, folder: str) -> None:
    sys.meta_path.insert(0, Engine())
    sys.path.insert(0, folder)
    from vllm.benchmarks import serve
    from vllm.benchmarks.datasets import SampleRequest

    requests = [SampleRequest(prompt=list(range(32)), prompt_len=32, expected_output_len=tokens) for _ in range(count)]
    used = time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        found = asyncio.run(
            serve.benchmark(
                task_type=serve.TaskType.GENERATION, endpoint_type="vllm", api_url=url,
                base_url=url.partition("/v1/")[0], model_id="mock", model_name="mock", tokenizer=None,
                input_requests=requests, logprobs=None, request_rate=math.inf, burstiness=1.0, disable_tqdm=True,
                num_warmups=0, profile=False, selected_percentile_metrics=["ttft", "itl"], selected_percentiles=[99.0],
                ignore_eos=True, goodput_config_dict={}, max_concurrency=concurrency, lora_modules=None,
                extra_headers=None, extra_body=None, ready_check_timeout_sec=0,
            )
        )  # fmt: skip
    used = time.process_time() - used
    waits, gaps = found["ttfts"], found["itls"]
    made = [{"ttft": wait, "itl": list(between)} for wait, between in zip(waits, gaps, strict=True)]
    json.dump({"seconds": found["duration"], "cpu": used, "requests": made}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5])
