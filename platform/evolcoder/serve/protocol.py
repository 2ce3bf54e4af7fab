"""OpenAI's requests: validation, and translation into an engine's ``GenerationRequest``. Pure; replies are in ``replies.py``.

Unknown fields are ignored, since clients send many that change nothing. Known fields that would change the answer and are not
supported are rejected, since ignoring them would give a wrong answer without a word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError

from evolcoder.serve.engines.base import (
    ChatPrompt,
    GenerationRequest,
    InfillPrompt,
    Prompt,
    SamplingParams,
    TextPrompt,
    TokenPrompt,
)

MAX_ANSWERS = 256
"""Answers of one request: ``serve.max_concurrency`` counts requests, so one request must not hold an engine for hours."""
COMPLETION_DEFAULT_TOKENS = 16
"""OpenAI's default for text completions; chats have none and may fill the context."""

_LEAVE_OUT = "this is not supported here; leave it out"
_UNSUPPORTED = {
    "tools": "tools are not supported here; leave them out, or set tool_choice to none",
    "functions": "functions are not supported here; leave them out, or set function_call to none",
    "response_format": "answers other than text are not supported here; leave it out",
    "echo": "the prompt is not repeated here, nor are its log probabilities given; leave it out",
    "best_of": "a value other than that of n is not supported here; leave it out",
    "continue_final_message": "an answer always begins a message of its own here; leave it out",
    **dict.fromkeys(("logit_bias", "audio", "web_search_options", "prompt_logprobs"), _LEAVE_OUT),
    **dict.fromkeys(("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"), _LEAVE_OUT),
}
"""Fields of OpenAI, and of vLLM, that would change the answer, each with what to say of it.

Null, false and empty values ask for nothing."""


@dataclass(eq=False)
class RequestError(Exception):
    """A request that cannot be answered, as OpenAI would say it.

    Args:
        status: the HTTP status.
        kind: OpenAI's ``type``.
        code: OpenAI's code, e.g. ``context_length_exceeded``.
        param: the field at fault.
    """

    message: str
    status: int = 400
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    retry_after_seconds: int | None = None


class _Request(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class StreamOptions(_Request):
    include_usage: bool | None = None


Stops = Annotated[
    list[Annotated[str, Field(max_length=256)]],
    Field(max_length=64),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]


class _GenerationBody(_Request):
    """What chat and text completions have in common."""

    model: str = ""
    n: Annotated[int, Field(ge=1, le=128)] = 1
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    seed: int | None = None
    stop: Stops = []
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    ignore_eos: bool = False
    max_tokens: Annotated[int, Field(ge=1)] | None = None

    def sampling(self, max_tokens: int | None, logprobs: int | None) -> SamplingParams:
        """The request's own settings for the engine, with what differs between chat and text completions."""
        return SamplingParams(
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=tuple(text for text in self.stop if text),
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            logprobs=logprobs,
            ignore_eos=self.ignore_eos,
        )


def _prompts(value: Any) -> tuple[TextPrompt | TokenPrompt, ...]:
    """The prompts of a text completion. A flat list of numbers is one prompt, given as tokens."""
    if isinstance(value, str):
        return (TextPrompt(value),)
    if isinstance(value, list):
        if all(isinstance(part, str) for part in value):
            return tuple(TextPrompt(part) for part in value) or (TokenPrompt(()),)
        parts = [value] if type(value[0]) is int else value
        if all(isinstance(part, list) and all(type(token) is int for token in part) for part in parts):
            return tuple(TokenPrompt(tuple(part)) for part in parts)
    raise ValueError("must be a string, a list of strings, a list of tokens, or a list of lists of tokens")


class CompletionRequest(_GenerationBody):
    """``POST /v1/completions``."""

    prompt: Annotated[tuple[TextPrompt | TokenPrompt, ...], PlainValidator(_prompts)] = (TextPrompt(""),)
    suffix: str = ""
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    def generation_request(self) -> GenerationRequest:
        """The request in the engine's terms.

        Raises:
            RequestError: its fields do not go together.
        """
        prompts: tuple[Prompt, ...] = self.prompt
        if len(prompts) * self.n > MAX_ANSWERS:
            raise RequestError(
                f"prompt: with n it asks for more than {MAX_ANSWERS} answers; send several requests.", param="prompt"
            )
        if self.suffix:
            if len(prompts) != 1 or not isinstance(prompts[0], TextPrompt):
                raise RequestError("suffix: it needs a prompt that is one string.", param="suffix")
            prompts = (InfillPrompt(prompts[0].text, self.suffix),)
        return GenerationRequest(prompts, self.sampling(self.max_tokens or COMPLETION_DEFAULT_TOKENS, self.logprobs), self.n)


def _message_text(value: object) -> str:
    """A message's text, which may come in parts."""
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise ValueError("must be a string or a list of text parts")
    for place, part in enumerate(value):
        if part.get("type") != "text":
            raise ValueError(f"part {place} has the type {str(part.get('type'))[:40]}, and the model reads text alone")
        if not isinstance(part.get("text"), str):
            raise ValueError(f"part {place} has no text")
    return "".join(part["text"] for part in value)


class ChatMessage(_Request):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[str, PlainValidator(_message_text)] = ""


class ChatRequest(_GenerationBody):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0

    def generation_request(self) -> GenerationRequest:
        """The request in the engine's terms. Raises as that of ``CompletionRequest`` does."""
        if self.top_logprobs and not self.logprobs:
            raise RequestError("top_logprobs: it needs logprobs to be true.", param="top_logprobs")
        # ``developer`` is OpenAI's newer name for what chat templates know as ``system``.
        roles = ("system" if message.role == "developer" else message.role for message in self.messages)
        messages = tuple({"role": role, "content": message.content} for role, message in zip(roles, self.messages, strict=True))
        sampling = self.sampling(self.max_completion_tokens or self.max_tokens, self.top_logprobs if self.logprobs else None)
        return GenerationRequest((ChatPrompt(messages),), sampling, self.n)


R = TypeVar("R", ChatRequest, CompletionRequest)


def parse_request(kind: type[R], body: bytes) -> R:
    """Check a request's body.

    Raises:
        RequestError: it is not JSON, or a field is wrong; the message names it.
    """
    try:
        text = body.decode("utf-8-sig")
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise RequestError("The request's body is not a JSON object.")
        if "\\u" in text:  # nothing but an escape can write half of a surrogate pair in UTF-8
            _refuse_surrogates(fields)
    except UnicodeDecodeError as error:
        raise RequestError(f"The request's body is not valid JSON: byte {error.start} is not UTF-8.") from None
    except ValueError as error:
        raise RequestError(f"The request's body is not valid JSON: {error}.") from None
    except RecursionError:
        raise RequestError("The request's body is not valid JSON: its brackets are nested too deeply.") from None
    fields = {name: value for name, value in fields.items() if value is not None}  # null counts as absent
    _refuse_unsupported(fields)
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        message = f"{_path(problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}."
        raise RequestError(message, param=str(problem["loc"][0])) from None


def _path(location: Sequence[str | int]) -> str:
    """A field's place as OpenAI writes it, e.g. ``messages[0].role``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _refuse_surrogates(value: object, *location: str | int) -> None:
    """JSON may hold half of a surrogate pair, as a client's cut through an emoji leaves it: no tokenizer encodes that."""
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            message = f"{_path(location)}: it holds half of a surrogate pair, which is no character; send whole characters."
            raise RequestError(message, param=str(location[0]))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _refuse_surrogates(part, *location, index)
    elif isinstance(value, dict):
        for name, part in value.items():
            _refuse_surrogates(name, *location, ascii(name).strip("'"))
            _refuse_surrogates(part, *location, name)


def _refuse_unsupported(fields: Mapping[str, Any]) -> None:
    wanted_format = fields.get("response_format")
    harmless = {
        "tools": fields.get("tool_choice") == "none",
        "functions": fields.get("function_call") == "none",
        "response_format": isinstance(wanted_format, dict) and wanted_format.get("type", "text") == "text",
        "best_of": fields.get("best_of") == fields.get("n", 1),
    }
    for name, message in _UNSUPPORTED.items():
        if fields.get(name) and not harmless.get(name):
            raise RequestError(f"{name}: {message}.", param=name)
    if fields.get("modalities") not in (None, [], ["text"]):
        raise RequestError("modalities: answers other than text are not supported here; leave it out.", param="modalities")
    if fields.get("add_generation_prompt") is False:
        raise RequestError("add_generation_prompt: it cannot be false here; leave it out.", param="add_generation_prompt")
