"""The Alpaca instruction format, which training, serving and scoring must share to the byte. Pure.

Source: the WizardCoder release, which took it from Stanford Alpaca; the target follows the prompt at once, then EOS.
"""

from __future__ import annotations

ALPACA_HEADER = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
ALPACA_HEADER_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)

ALPACA_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}"
    "{{ '" + ALPACA_HEADER + "\n\n### Instruction:\n' + message['content'] + '\n\n### Response:' }}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{ message['content'] + eos_token }}"
    "{%- endif -%}"
    "{%- endfor -%}"
)
"""For ``tokenizer.chat_template`` of a tuned model. The format has no place for a system message: it is left out."""


def alpaca_prompt(instruction: str, input: str = "") -> str:
    """The prompt that a response follows at once."""
    if input:
        return f"{ALPACA_HEADER_WITH_INPUT}\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
    return f"{ALPACA_HEADER}\n\n### Instruction:\n{instruction}\n\n### Response:"
