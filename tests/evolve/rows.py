"""Rows for the tests of this folder."""

from __future__ import annotations

import dataclasses
from typing import Any

from evolcoder.records import Instruction
from evolcoder.storage.hashes import stable_hash


def seed(instruction: str, response: str = "print(1)", **changes: Any) -> Instruction:
    identity = stable_hash(instruction)
    row = Instruction(
        id=identity,
        round=0,
        parent_id=None,
        root_id=identity,
        operator="seed",
        instruction=instruction,
        input="",
        response=response,
    )
    return dataclasses.replace(row, **changes)


def child(parent: Instruction, number: int, instruction: str, status: str = "kept", **changes: Any) -> Instruction:
    """What a round made of a row."""
    reason = None if status == "kept" else "unchanged"
    made = {"id": stable_hash(parent.id, str(number)), "round": number, "parent_id": parent.id, "operator": "constraints"}
    return dataclasses.replace(parent, **{"instruction": instruction, "status": status, "reason": reason} | made | changes)
