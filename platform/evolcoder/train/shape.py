"""What of a model's configuration decides how much a training computes and holds. Pure.

Which tensors a layer keeps was read off torch's own hooks; tests/train/test_shape.py compares it with them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

GATED_MODELS = frozenset({"llama", "qwen2", "mistral", "qwen3", "gemma", "gemma2", "phi3"})
"""Model types whose MLP has a gate beside its two matrices, and whose norm computes in 32 bits."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Widths in elements a token: ``queries`` and ``keys`` of all heads together, ``inner`` of the MLP between its matrices.

    ``parameters`` are all of them, each tied weight once; ``adapter`` those of an adapter, or None where all are trained.
    """

    parameters: int
    layers: int
    hidden: int
    queries: int
    keys: int
    inner: int
    vocabulary: int
    tied: bool
    learned_positions: int
    gated: bool
    dropout: bool
    adapter: int | None = None

    @property
    def trained(self) -> int:
        return self.parameters if self.adapter is None else self.adapter

    @property
    def head(self) -> int:
        """Parameters of the output layer, which may be those of the embedding."""
        return self.vocabulary * self.hidden

    @property
    def body(self) -> int:
        """Parameters that each token is multiplied with before the output layer: not those that are looked up."""
        embeddings = self.head if self.tied else 2 * self.head
        return self.parameters - embeddings - self.learned_positions * self.hidden


def shape_of(config: Mapping[str, Any], parameters: int) -> ModelShape | None:
    """Of a decoder-only model's config.json; None where it does not name its widths as such models do."""
    config = config.get("text_config") or config

    def first(*names: str) -> Any:
        return next((config[name] for name in names if config.get(name) is not None), None)

    hidden, layers = first("hidden_size", "n_embd"), first("num_hidden_layers", "n_layer")
    heads, vocabulary = first("num_attention_heads", "n_head"), config.get("vocab_size")
    if not (hidden and layers and heads and vocabulary):
        return None
    head_size = first("head_dim") or hidden // heads
    # All heads of GPT-BigCode share one key and one value.
    key_heads = 1 if config.get("multi_query") else first("num_key_value_heads") or heads
    kind = config.get("model_type")
    rates = ("resid_pdrop", "residual_dropout")
    return ModelShape(
        parameters=parameters,
        layers=layers,
        hidden=hidden,
        queries=heads * head_size,
        keys=key_heads * head_size,
        inner=first("intermediate_size", "n_inner") or 4 * hidden,
        vocabulary=vocabulary,
        # transformers' own defaults where the file is silent.
        tied=config.get("tie_word_embeddings", kind not in {"llama", "codegen"}),
        learned_positions=config.get("n_positions", 0) if kind in {"gpt_bigcode", "gpt2"} else 0,
        gated=kind in GATED_MODELS,
        dropout=any(config.get(rate) for rate in rates),
    )


def with_adapter_of(shape: ModelShape, rank: int) -> ModelShape:
    """The shape with an adapter of this rank beside every linear layer but the output layer (Hu et al. 2021)."""
    ends = shape.hidden + shape.queries  # of the matrices before and after attention: what goes in and what comes out
    linear = 2 * ends + 2 * (shape.hidden + shape.keys) + (3 if shape.gated else 2) * (shape.hidden + shape.inner)
    return replace(shape, adapter=rank * shape.layers * linear)


def step_flops(shape: ModelShape, lengths: Sequence[int], response_tokens: int) -> float:
    """Floating-point operations that one step on rows of these lengths must do, as a model's use of a GPU (MFU) counts them.

    Each parameter multiplies and adds once a token, forward, and twice backward (Kaplan et al. 2020, section 2.1), the output
    layer only for the tokens that the loss counts; of an adapter's base the backward pass is half, for its own gradients are
    not wanted. Causal attention multiplies queries with half of all keys and the result with half of all values. What is
    computed again to save memory does not count (Chowdhery et al. 2022, appendix B).
    """
    passes = 3 if shape.adapter is None else 2
    matrices = 2 * passes * (shape.body * sum(lengths) + shape.head * response_tokens)
    adapter = 6 * (shape.adapter or 0) * sum(lengths)
    attention = 6 * shape.layers * shape.queries * sum(length * length for length in lengths)
    return float(matrices + adapter + attention)


_PEAK_TERAFLOPS = {
    "H200": 989, "H100 PCIe": 756, "H100 NVL": 835, "H100": 989, "H800": 989, "A100": 312, "A800": 312, "L40S": 362, "L40": 181,
    "L4": 121, "A10G": 70, "A10": 125, "A30": 165, "A40": 150, "B200": 2250, "RTX 4090": 165, "RTX 3090": 71, "RTX A6000": 155,
    "V100": 125, "T4": 65,
}  # fmt: skip
"""Dense, in 16 bits with sums in 32 bits, from the makers' data sheets; of names that begin alike the longest comes first."""


def peak_flops(device_name: str) -> float | None:
    """A GPU's floating-point operations a second at most, in 16 bits; None for one that is not known."""
    return next((value * 1e12 for name, value in _PEAK_TERAFLOPS.items() if name in device_name), None)
