"""The work of ``benchmarks/evolve.py`` done with curator, in curator's own environment: BASE_URL MODEL SEEDS CONCURRENCY."""

import json
import sys

from bespokelabs import curator
from datasets import Dataset

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
