"""SGLang's Rust client, from its wheel alone: the extension needs nothing of the engine."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path


def main(url: str, concurrency: int, count: int, tokens: int, extension: str) -> None:
    spec = importlib.util.spec_from_file_location("sglang.srt.rust_extensions._bench", extension)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    base = url.partition("/v1/")[0]
    with tempfile.TemporaryDirectory() as folder:
        said = os.dup(1)
        os.dup2(2, 1)  # its table is not for us
        config = {
            "backend": "vllm", "base_url": base, "model": "mock", "dataset_name": "random-ids", "num_prompts": count,
            "random_input_len": 32, "random_output_len": tokens, "random_range_ratio": 1.0, "tokenize_prompt": True,
            "max_concurrency": concurrency, "request_rate": "inf", "output_file": str(Path(folder) / "o.jsonl"),
            "output_details": True, "disable_tqdm": True, "warmup_requests": 0, "ready_check_timeout_sec": 0,
            "vocab_size": 32000,
        }  # fmt: skip
        used = time.process_time()
        module.run_config(json.dumps(config))
        used = time.process_time() - used
        found = json.loads((Path(folder) / "o.jsonl").read_text().splitlines()[-1])
    os.dup2(said, 1)
    pairs = zip(found["ttfts"], found["itls"], strict=True)
    json.dump(
        {"seconds": found["duration"], "cpu": used, "requests": [{"ttft": t, "itl": g} for t, g in pairs]}, sys.stdout
    )


main(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5])
