"""A model small enough to train in seconds, and a run folder with a training set."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evolcoder.console import Progress, Reporter
from evolcoder.records import INSTRUCTION_SCHEMA, Instruction
from evolcoder.run.folder import RunFolder
from evolcoder.settings.files import parse_settings
from evolcoder.settings.run import RunSettings
from evolcoder.storage.arrow_files import arrow_bytes
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage, describe_file
from evolcoder.train.identity import train_stage

EOS = "<|im_end|>"


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """One token a byte, an EOS that is not the default one, and no BOS put first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|endoftext|>", "<|im_start|>", EOS]
    vocabulary = {symbol: i for i, symbol in enumerate([*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token=EOS)


@pytest.fixture(scope="session")
def tiny_model(tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama with tied embeddings, in a folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tiny_tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True, eos_token_id=0, bos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_base(tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Call with an architecture's name to get the folder of such a random model, without dropout."""
    import torch
    import transformers

    gpt = {"vocab_size": len(tiny_tokenizer), "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
    ends = {"eos_token_id": 0, "bos_token_id": 1, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    t5 = {"vocab_size": len(tiny_tokenizer), "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
    llama = {
        "vocab_size": len(tiny_tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
        "eos_token_id": 0, "bos_token_id": 1,
    }  # fmt: skip
    no_dropout = {"residual_dropout": 0.0, "embedding_dropout": 0.0, "attention_dropout": 0.0}
    configs = {
        "qwen2": transformers.Qwen2Config(**llama, tie_word_embeddings=True),
        "starcoder2": transformers.Starcoder2Config(**llama, **no_dropout, sliding_window=64),
        "gpt_bigcode": transformers.GPTBigCodeConfig(**gpt, **ends, multi_query=True),
        "codegen": transformers.CodeGenConfig(**gpt, **ends, rotary_dim=4, tie_word_embeddings=False),
        "t5": transformers.T5Config(**t5),
    }

    def get(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        torch.manual_seed(0)
        maker = transformers.AutoModelForSeq2SeqLM if kind == "t5" else transformers.AutoModelForCausalLM
        maker.from_config(configs[kind]).save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)
        return folder

    return get


def instruction_row(number: int, round_number: int, instruction: str, response: str, input: str = "") -> dict[str, Any]:
    name = f"id{number:04d}"
    return Instruction(
        name, round_number, None, name, "seed", instruction, input, response, "teacher", "sampling", 1, 1, [], "kept", None
    ).to_row()


def write_dataset(folder: Folder, rows: Sequence[dict[str, Any]]) -> None:
    """Two shards, as the evolve stage writes them."""
    folder.make()
    half = max(1, len(rows) // 2)
    entries = []
    for index, part in enumerate([rows[:half], rows[half:]]):
        name = f"train-{index:05d}.arrow"
        folder.write_bytes(name, arrow_bytes(part, INSTRUCTION_SCHEMA))
        entries.append(describe_file(folder, name, len(part)))
    Stage("dataset", folder, {"kind": "test"}).publish(entries)


def training(settings: RunSettings, run: RunFolder, base_fingerprint: str = "base-fingerprint") -> Stage:
    """The train stage of a run whose training set the test wrote."""
    return train_stage(settings, run, (), Stage("dataset", run.dataset, {}), lambda: base_fingerprint)


def arithmetic_rows(count: int = 12) -> list[dict[str, Any]]:
    """Short rows of different lengths; the second half is of round 1."""
    return [
        instruction_row(n, 2 * n // count, f"Add {n} and {n}.", f"\nprint({n} + {n})" + "  # sum" * (n % 4))
        for n in range(count)
    ]


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., tuple[RunSettings, RunFolder]]:
    """A run of its own folder with a training set; keyword arguments are training settings."""

    def make(
        name: str = "run", rows: Sequence[dict[str, Any]] | None = None, storage: Folder | None = None, **train: Any
    ) -> tuple[RunSettings, RunFolder]:
        chosen = {
            "max_steps": 3, "global_batch_size": 4, "sequence_length": 256, "learning_rate": 1e-3, "warmup_steps": 1,
            "precision": "fp32", "zero_stage": 2, "checkpoint_steps": 100, **train,
        }  # fmt: skip
        settings = parse_settings({"name": name, "storage": str(tmp_path), "evolve": {"rounds": 1}, "train": chosen}, "test")
        run = RunFolder.open(settings) if storage is None else RunFolder(storage / name)
        write_dataset(run.dataset, arithmetic_rows() if rows is None else rows)
        return settings, run

    return make


class Watcher(Reporter):
    """Keeps what was said in ``text``, and the steps shown in ``steps``; ``on_step`` is called with each."""

    def __init__(self, on_step: Callable[[int], None] | None = None) -> None:
        self.stream = io.StringIO()
        self.steps: list[int] = []
        self.on_step = on_step
        super().__init__("json", self.stream)

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Progress]:
        yield self

    def update(self, done: int, **figures: object) -> None:
        if done not in self.steps:
            self.steps.append(done)
            if self.on_step is not None:
                self.on_step(done)

    @property
    def text(self) -> str:
        return self.stream.getvalue()


@pytest.fixture
def watch() -> type[Watcher]:
    return Watcher


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    return instruction_row
