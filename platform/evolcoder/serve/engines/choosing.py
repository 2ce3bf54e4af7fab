"""Choosing the decoder for a model: the fastest one in which rows that join and leave get the logits they get alone.

Found out by a trial on the model itself, not by a list of architectures: a model that takes ``position_ids`` may still ignore
them, and such a model would answer fluently, and wrongly.
"""

from __future__ import annotations

from pathlib import Path

import torch

from evolcoder.errors import ModelError
from evolcoder.serve.engines.decoders import Decoder, LeftPaddedDecoder, SequentialDecoder, SlotDecoder, read_prompt
from evolcoder.serve.engines.loading import LoadedModel

_MODEL_FAULTS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError)
"""What models raise when they are called in a way that they were not written for."""


def choose_decoder(loaded: LoadedModel, folder: Path) -> Decoder:
    """The fastest decoder that is right, with no rows in it. The trial has also warmed the model up.

    Raises:
        ModelError: no decoder is right.
    """
    if loaded.model.get_output_embeddings() is None:
        raise ModelError(f"A model of the kind {loaded.model.config.model_type} has no output layer to decode with.")
    for kind in _candidates(loaded):
        decoder = kind(loaded)
        fault = _fault(decoder, loaded)
        decoder.clear()
        if fault is None:
            return decoder
    raise ModelError(f"{folder} ({loaded.model.config.model_type}) cannot be served by the transformers engine: {fault}.")


def _candidates(loaded: LoadedModel) -> list[type[Decoder]]:
    """The decoders that may suit this model, the fastest first."""
    config = loaded.model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or [])
    if kinds - {"full_attention", "sliding_attention"}:
        return [SequentialDecoder]  # layers with another state than keys and values, such as Mamba's or linear attention's
    slides = not kinds or "sliding_attention" in kinds
    windows = [config.sliding_window] if slides and getattr(config, "sliding_window", None) else []
    if "local" in getattr(config, "attention_layers", ()):
        windows.append(config.window_size)
    # SlotDecoder's mask knows no windows. With left padding columns are in step with distances, so the model's own masks
    # are right.
    if loaded.decoder_start or any(window < loaded.max_model_len for window in windows):
        return [LeftPaddedDecoder, SequentialDecoder]
    return [SlotDecoder, LeftPaddedDecoder, SequentialDecoder]


@torch.inference_mode()
def _fault(decoder: Decoder, loaded: LoadedModel) -> str | None:
    """What is wrong with this decoder for this model, or None.

    A row decodes a step alone, two rows of other lengths join, all step, the first leaves, the rest step: the smallest
    sequence in which a row meets padding, a mask that changes, and a change of its slot. The logits are compared, not the
    tokens; those of random prompts are nearly flat, and greedy choices would differ by rounding.
    """
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(loaded.vocabulary, (29,), generator=generator).tolist()
    prompts = [ids[:12], ids[12:16], ids[16:23]]
    answers = [ids[23:25], ids[25:27], ids[27:29]]
    try:
        decoder.join(prompts[:1])
        decoder.step([answers[0][0]])
        decoder.join(prompts[1:])
        found = [decoder.step([answers[0][1], answers[1][0], answers[2][0]])]
        order = decoder.drop({0})
        found.append(decoder.step([answers[row][1] for row in order]))
        read = [(0, answers[0]), (1, answers[1][:1]), (2, answers[2][:1]), *((row, answers[row]) for row in order)]
        expected = [read_prompt(loaded, prompts[row], answer, use_cache=False).logits[0, -1].float() for row, answer in read]
    except _MODEL_FAULTS as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200].rstrip('.')}"
    together, alone = torch.cat(found).float(), torch.stack(expected)
    # Relative to the spread of the logits. Batched matrix products round otherwise than single ones, in bfloat16 visibly;
    # a wrong mask or position moves logits by about their whole spread. ``not <=``: NaN is a fault too.
    allowed = 0.01 if loaded.dtype == torch.float32 else 0.1
    if not (together - alone).abs().mean(-1).max() <= allowed * alone.std():
        return "decoding token by token gives other logits than reading the same text at once"
    return None
