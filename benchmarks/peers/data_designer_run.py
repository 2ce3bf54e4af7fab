"""The work of ``benchmarks/evolve.py`` done with NeMo Data Designer, in its own environment: BASE_URL MODEL SEEDS CONCURRENCY.

Both calls are columns of one data set, so that a row's second call goes as soon as its first one is answered. All but the
number of requests in flight is as it is by default; its port for metrics is not opened, and the model is not tried beforehand,
which would be one call more. It counts tokens with a vocabulary that is downloaded at run time; here words are counted
instead, which takes less time.
"""

import json
import sys
from pathlib import Path

import tiktoken


class Words:
    """Stands for an encoding."""

    def encode(self, text, **_):
        return text.split()


tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_: Words()

import data_designer.config as dd  # noqa: E402 - after what it takes from tiktoken
from data_designer.interface import DataDesigner  # noqa: E402


def main() -> None:
    base_url, model, seeds, concurrency = sys.argv[1:]
    prompts = [json.loads(line)["prompt"] for line in Path(seeds).read_text().splitlines()]
    sampling = dd.ChatCompletionInferenceParams(
        temperature=1.0, top_p=0.95, max_tokens=2048, max_parallel_requests=int(concurrency)
    )
    teacher = dd.ModelConfig(
        alias="teacher", model=model, provider="scripted", inference_parameters=sampling, skip_health_check=True
    )
    config = dd.DataDesignerConfigBuilder(model_configs=[teacher])
    config.with_seed_dataset(dd.LocalFileSeedSource(path=seeds))
    config.add_column(dd.LLMTextColumnConfig(name="evolved", prompt="{{ prompt }}", model_alias="teacher"))
    config.add_column(dd.LLMTextColumnConfig(name="answered", prompt="{{ evolved }}", model_alias="teacher"))
    provider = dd.ModelProvider(name="scripted", endpoint=base_url, provider_type="openai", api_key="none")
    designer = DataDesigner(artifact_path=Path.cwd() / "data-designer", model_providers=[provider])
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None))
    made = designer.create(config, num_records=len(prompts)).load_dataset()
    assert sorted(made["prompt"]) == sorted(prompts), f"{len(made)} rows of {len(prompts)}"
    assert made["answered"].str.len().min() > 0


if __name__ == "__main__":
    main()
