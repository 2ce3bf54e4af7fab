"""Tokens per second of the endpoint against bare ``generate`` on the same batch, in one run on one machine.

    python -m benchmarks.serve [MODEL_FOLDER] [--at-once 1 8 32] [--repeats 3]

Greedy, 64 new tokens for every prompt, the embedded model unless another is named; the two take turns, and the best of each
counts. ``generate`` gets all prompts as one batch before it starts and has the machine to itself; the endpoint gets one
request for each over HTTP through Ray Serve. With PYTHONPATH=OTHER/platform the same script measures another checkout.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.common import parser, print_header, print_row

from evolcoder.cluster import ray_session
from evolcoder.console import Reporter
from evolcoder.embedded import embedded_model_folder
from evolcoder.endpoint.requests import Endpoint
from evolcoder.errors import EvolcoderError
from evolcoder.serve.launch import serving
from evolcoder.settings.run import ServeSettings

NEW_TOKENS = 64
PROMPTS = [
    f'def solve_{number}(values):\n    """Return the sum of the squares of the values greater than {number}."""\n'
    for number in range(32)
]


class Bare:
    """The model in this process, in the number type and with the threads that the engine chooses."""

    def __init__(self, folder: Path) -> None:
        import torch

        from evolcoder.serve.engines.loading import load_model, usable_cores

        torch.set_num_threads(usable_cores(1))
        self._loaded = load_model(folder, None)

    def tokens_per_second(self, prompts: list[str]) -> float:
        import torch

        tokenizer: Any = self._loaded.tokenizer
        tokenizer.padding_side = "left"
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        batch = tokenizer(prompts, return_tensors="pt", padding=True).to(self._loaded.device)
        started = time.perf_counter()
        with torch.inference_mode():
            self._loaded.model.generate(**batch, do_sample=False, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS)
        return len(prompts) * NEW_TOKENS / (time.perf_counter() - started)


def served_tokens_per_second(served: Endpoint, prompts: list[str]) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(len(prompts)) as pool:
        tokens = sum(pool.map(lambda prompt: _complete(served, prompt), prompts))
    assert tokens == len(prompts) * NEW_TOKENS
    return tokens / (time.perf_counter() - started)


def _complete(served: Endpoint, prompt: str) -> int:
    body = {"model": served.model, "prompt": prompt, "max_tokens": NEW_TOKENS, "temperature": 0, "ignore_eos": True}
    request = urllib.request.Request(f"{served.base_url}/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=3600) as reply:
        return int(json.load(reply)["usage"]["completion_tokens"])


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("folder", nargs="?", type=Path, help="a model folder; the embedded model when left out")
    arguments.add_argument(
        "--at-once", nargs="+", type=int, default=[1, 8, 32], choices=range(1, len(PROMPTS) + 1), metavar="N"
    )
    arguments.add_argument("--repeats", type=int, default=3, choices=range(1, 101), metavar="N")
    given = arguments.parse_args()
    try:
        measure(given.folder or embedded_model_folder(), given.at_once, given.repeats)
    except EvolcoderError as error:
        sys.exit(error.message)


def measure(folder: Path, at_once: Sequence[int], repeats: int) -> None:
    """Print the table, a row for each number of requests at once."""
    bare = Bare(folder)
    with ray_session(), serving(folder, "model", ServeSettings(), reporter=Reporter()) as served:
        bare.tokens_per_second(PROMPTS[:2])
        served_tokens_per_second(served, PROMPTS[:2])
        print_header("at once", "generate, tokens/s", "endpoint, tokens/s", "endpoint / generate")
        for count in at_once:
            measured = [
                (bare.tokens_per_second(PROMPTS[:count]), served_tokens_per_second(served, PROMPTS[:count]))
                for _ in range(repeats)
            ]
            alone, endpoint = (max(values) for values in zip(*measured, strict=True))
            print_row(count, f"{alone:.0f}", f"{endpoint:.0f}", f"{endpoint / alone:.2f}")


if __name__ == "__main__":
    main()
