"""The work of ``benchmarks/evolve.py`` done with curator, in curator's own environment: BASE_URL MODEL SEEDS CONCURRENCY.

It counts tokens with a vocabulary that is downloaded at run time; here words are counted instead, which takes less time.
"""

import json
import sys

import tiktoken


class Words:
    """Stands for an encoding."""

    def encode(self, text, **_):
        return text.split()


tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_: Words()

from bespokelabs import curator  # noqa: E402 - after what it takes from tiktoken
from datasets import Dataset  # noqa: E402

base_url, model, seeds, concurrency = sys.argv[1:]


class Ask(curator.LLM):
    """Sends a row's prompt, and keeps the reply as the next prompt."""

    def prompt(self, input):
        return input["prompt"]

    def parse(self, input, response):
        return {"prompt": response}


def ask() -> Ask:
    return Ask(
        model_name=model,
        backend="openai",
        generation_params={"temperature": 1.0, "top_p": 0.95, "max_tokens": 2048},
        backend_params={
            "base_url": base_url,
            "max_concurrent_requests": int(concurrency),
            "max_requests_per_minute": 1_000_000,
            "max_tokens_per_minute": 1_000_000_000,
        },
    )


with open(seeds) as stream:
    rows = [{"prompt": json.loads(line)["prompt"]} for line in stream]
evolved = ask()(Dataset.from_list(rows))
evolved = getattr(evolved, "dataset", evolved)
answered = ask()(evolved)
answered = getattr(answered, "dataset", answered)
assert len(answered) == len(rows), (len(answered), len(rows))
