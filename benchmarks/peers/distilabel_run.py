"""The work of ``benchmarks/evolve.py`` done with distilabel, in its own environment: BASE_URL MODEL SEEDS CONCURRENCY."""

import json
import sys

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration


def main() -> None:
    base_url, model, seeds, concurrency = sys.argv[1:]
    with open(seeds) as stream:
        rows = [{"instruction": json.loads(line)["prompt"]} for line in stream]
    # Two steps run side by side, each with one batch on its way: half of the concurrency is a batch of either.
    batch = int(concurrency) // 2
    sampling = {"temperature": 1.0, "top_p": 0.95, "max_new_tokens": 2048}

    def llm() -> OpenAILLM:
        return OpenAILLM(model=model, base_url=base_url, api_key="none", generation_kwargs=sampling)

    with Pipeline(name="evolve") as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=batch)
        evolve = TextGeneration(name="evolve", llm=llm(), input_batch_size=batch, output_mappings={"generation": "evolved"})
        answer = TextGeneration(name="answer", llm=llm(), input_batch_size=batch, input_mappings={"instruction": "evolved"})
        load >> evolve >> answer
    made = pipeline.run(use_cache=True)
    assert len(made["default"]["train"]) == len(rows), len(made["default"]["train"])


if __name__ == "__main__":
    main()
