"""From instruction rows to token rows: the Alpaca prompt, the response right after it, then EOS.

Over-long rows are cut on the right, as the released WizardCoder script does: such a row keeps the start of its response
and has no EOS, so nothing teaches the model to stop in the middle. Or they are dropped. A row whose prompt alone fills the
sequence has nothing to learn from and is dropped always. All are counted. Pure but for the tokenizer that is passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from evolcoder.errors import ModelError
from evolcoder.storage.hashes import stable_hash
from evolcoder.text.rendering import Tokenizer, leading, words
from evolcoder.text.templates import ALPACA_CHAT_TEMPLATE, alpaca_prompt

ENCODED_SCHEMA = pa.schema(
    [
        pa.field("tokens", pa.list_(pa.int32()), nullable=False),
        pa.field("prompt_tokens", pa.int32(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
    ]
)
TEMPLATE_HASH = stable_hash(ALPACA_CHAT_TEMPLATE, alpaca_prompt("{instruction}"), alpaca_prompt("{instruction}", "{input}"))
"""Changes whenever what a model is trained to answer to changes."""


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """``tokens`` are prompt, response and EOS; the loss is on those after the first ``prompt_tokens``. ``id`` is the row's."""

    tokens: list[int]
    prompt_tokens: int
    id: str = ""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What became of some rows. ``overlong`` are the places of those that were longer than the sequence: cut, and so among
    ``rows``, or dropped, as was asked. ``dropped`` counts those whose prompts filled it.
    """

    rows: list[EncodedRow]
    overlong: list[int]
    dropped: int


def encode(
    rows: Sequence[tuple[str, str, str]],
    tokenizer: Tokenizer,
    sequence_length: int,
    vocabulary: int | None = None,
    drop_overlong: bool = False,
    ids: Sequence[str] = (),
) -> Encoded:
    """Encode (instruction, input, response) rows to at most ``sequence_length`` tokens each.

    Args:
        vocabulary: rows of the model's embedding; None does not check that each token is one of them.
        ids: those of the rows, for messages; none of them, where nobody asks.

    Raises:
        ModelError: the tokenizer has no EOS token, so the model could not learn where to stop; or a token that the model
            cannot read.
    """
    eos = tokenizer.eos_token_id
    if eos is None:
        raise ModelError("The base model's tokenizer has no EOS token; set eos_token in its tokenizer_config.json.")
    prompts = [alpaca_prompt(instruction, input) for instruction, input, _ in rows]
    responses = [response for _, _, response in rows]
    prompt_ids = words(tokenizer, prompts)
    joint_ids = words(tokenizer, [prompt + response for prompt, response in zip(prompts, responses, strict=True)])
    response_ids = words(tokenizer, responses)
    start = leading(tokenizer)
    encoded: list[EncodedRow] = []
    overlong: list[int] = []
    dropped = 0
    for place, (prompt, joint, response) in enumerate(zip(prompt_ids, joint_ids, response_ids, strict=True)):
        # What is generated follows the prompt's own tokens. Where the two texts encode differently together (a merge
        # over the border), they are encoded apart, or training would show tokens that serving never produces.
        body = joint if joint[: len(prompt)] == prompt else prompt + response
        tokens = [*start, *body, eos]
        prompt_tokens = len(start) + len(prompt)
        if prompt_tokens >= sequence_length:
            dropped += 1
            continue
        if len(tokens) > sequence_length:
            overlong.append(place)
            if drop_overlong:
                continue
        tokens = tokens[:sequence_length]
        if vocabulary is not None and max(tokens) >= vocabulary:
            raise ModelError(
                f"The base model's tokenizer makes the token {max(tokens)}, but its embedding has the tokens 0 to "
                f"{vocabulary - 1} alone; give the folder the tokenizer that the model was trained with."
            )
        encoded.append(EncodedRow(tokens, prompt_tokens, ids[place] if ids else ""))
    return Encoded(encoded, overlong, dropped)


def to_batch(rows: Sequence[EncodedRow]) -> pa.RecordBatch:
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in ENCODED_SCHEMA}
    return pa.RecordBatch.from_pydict(columns, schema=ENCODED_SCHEMA)


def row_of(encoded: pa.Table, index: int) -> EncodedRow:
    tokens = encoded["tokens"][index].values.to_numpy().tolist()
    return EncodedRow(tokens, encoded["prompt_tokens"][index].as_py(), encoded["id"][index].as_py())
