"""Which way of decoding suits a model: the fastest in which rows that come and go answer as each does alone; by trying."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from evolcoder.errors import ModelError
from evolcoder.serve.engines.decoders import AlignedDecoder, AloneDecoder, Decoder, SlotDecoder, read_prompt
from evolcoder.serve.engines.loading import LoadedModel

_MODEL_FAULTS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError)
"""What models raise when they are asked in a way that they were not written for."""


def choose_decoder(loaded: LoadedModel, folder: Path) -> Decoder:
    """The fastest decoder that is right, without rows; trying it out has warmed the model up.

    Raises:
        ModelError: none is right.
    """
    if loaded.model.get_output_embeddings() is None:
        raise ModelError(f"A model of the kind {loaded.model.config.model_type} has no output layer to decode with.")
    for way in _ways(loaded):
        decoder: Decoder = way(loaded)
        fault = _fault(decoder, loaded)
        decoder.clear()
        if fault is None:
            return decoder
    raise ModelError(f"{folder} ({loaded.model.config.model_type}) cannot be served by the transformers engine: {fault}.")


def _ways(loaded: LoadedModel) -> list[type[SlotDecoder] | type[AlignedDecoder] | type[AloneDecoder]]:
    """The decoders that may suit this model, the fastest first."""
    config = loaded.model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or [])
    if kinds - {"full_attention", "sliding_attention"}:
        return [AloneDecoder]  # layers that keep something other than keys and values
    slides = not kinds or "sliding_attention" in kinds
    windows = [config.sliding_window] if slides and getattr(config, "sliding_window", None) else []
    if "local" in getattr(config, "attention_layers", ()):
        windows.append(config.window_size)
    # Slots know no windows; where rows are aligned, the model's own masks find what lies within one.
    if loaded.decoder_start or any(window < loaded.max_model_len for window in windows):
        return [AlignedDecoder, AloneDecoder]
    return [SlotDecoder, AlignedDecoder, AloneDecoder]


@torch.inference_mode()
def _fault(decoder: Decoder, loaded: LoadedModel) -> str | None:
    """What is wrong with this decoder for this model; None: rows that come and go in it answer as each does alone."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(loaded.vocabulary, (29,), generator=generator).tolist()
    prompts = [ids[:12], ids[12:16], ids[16:23]]
    answers = [ids[23:25], ids[25:27], ids[27:29]]
    try:
        decoder.join(prompts[:1])
        decoder.step([answers[0][0]])
        decoder.join(prompts[1:])
        found = [decoder.step([answers[0][1], answers[1][0], answers[2][0]])]
        expected = [_whole(loaded, prompts[row], answers[row][: 2 if row == 0 else 1]) for row in range(3)]
        order = decoder.drop({0})
        found.append(decoder.step([answers[row][1] for row in order]))
        expected += [_whole(loaded, prompts[row], answers[row]) for row in order]
    except _MODEL_FAULTS as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200].rstrip('.')}"
    together, alone = torch.cat(found).float(), torch.stack(expected)
    allowed = 0.01 if loaded.dtype == torch.float32 else 0.1
    if not (together - alone).abs().mean(-1).max() <= allowed * alone.std():
        return "its answers token by token differ from what it says to the whole"
    return None


def _whole(loaded: LoadedModel, prompt: list[int], answer: Sequence[int]) -> torch.Tensor:
    """The logits after an answer that is read at once, without a cache."""
    logits = read_prompt(loaded, prompt, answer, use_cache=False).logits
    return logits[0, -1].float()  # type: ignore[no-any-return]
