"""The prompt format, to the byte, and the same from the chat template."""

from __future__ import annotations

import jinja2
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from evolcoder.text.templates import ALPACA_CHAT_TEMPLATE, alpaca_prompt


def render(*messages: tuple[str, str]) -> str:
    """As transformers renders chat templates."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    rows = [{"role": role, "content": content} for role, content in messages]
    return environment.from_string(ALPACA_CHAT_TEMPLATE).render(messages=rows, eos_token="</s>", add_generation_prompt=True)


def test_without_input() -> None:
    assert alpaca_prompt("Add.") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Response:"
    )


def test_with_input() -> None:
    assert alpaca_prompt("Add.", "1 2") == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:"
    )


@given(st.text(), st.text())
def test_the_chat_template_writes_what_training_writes(instruction: str, response: str) -> None:
    assert render(("user", instruction)) == alpaca_prompt(instruction)
    assert render(("user", instruction), ("assistant", response)) == alpaca_prompt(instruction) + response + "</s>"


def test_a_system_message_has_no_place() -> None:
    assert render(("system", "Be brief."), ("user", "Add.")) == alpaca_prompt("Add.")
