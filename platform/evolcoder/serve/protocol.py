"""OpenAI's requests: validation, and translation into an engine's ``GenerationRequest``. Pure; replies are in ``replies.py``.

Unknown fields are ignored, since clients send many that change nothing. Known fields that would change the answer and are not
supported are rejected, since ignoring them would give a wrong answer without a word.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evolcoder.serve.engines.base import (
    ChatPrompt,
    GenerationRequest,
    InfillPrompt,
    Prompt,
    SamplingParams,
    TextPrompt,
    TokenPrompt,
)

MAX_PROMPTS = 256
MAX_ANSWERS = 256
"""Answers of one request: ``serve.max_concurrency`` counts requests, so one request must not hold an engine for hours."""
COMPLETION_DEFAULT_TOKENS = 16
"""OpenAI's default for text completions; chats have none and may fill the context."""

Token = Annotated[int, Field(ge=0)]
Stop = Annotated[str, Field(max_length=256)]


class RequestError(Exception):
    """A request that cannot be answered, as OpenAI would say it.

    Args:
        status: the HTTP status.
        code: OpenAI's code, e.g. ``context_length_exceeded``.
        param: the field at fault.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.kind, self.code, self.param = message, status, kind, code, param
        self.retry_after_seconds = retry_after_seconds


class _Request(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class StreamOptions(_Request):
    include_usage: bool = False


class _GenerationBody(_Request):
    """What chat and text completions have in common."""

    model: str | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=64)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None
    ignore_eos: bool = False

    @model_validator(mode="after")
    def _reject_logit_bias(self) -> _GenerationBody:
        if self.logit_bias:
            raise ValueError("logit_bias is not supported here; leave it out")
        return self

    @property
    def streamed(self) -> bool:
        return bool(self.stream)

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def generation_request(self) -> GenerationRequest:
        """The request in the engine's terms."""
        raise NotImplementedError

    @property
    def answers_per_prompt(self) -> int:
        return self.n or 1

    def sampling(self, max_tokens: int | None, logprobs: int | None) -> SamplingParams:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return SamplingParams(
            max_tokens=max_tokens,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=self.seed,
            stop=tuple(text for text in stop if text),
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logprobs=logprobs,
            ignore_eos=self.ignore_eos,
        )


class CompletionRequest(_GenerationBody):
    """``POST /v1/completions``."""

    prompt: str | list[Token] | Annotated[list[str], Field(min_length=1, max_length=MAX_PROMPTS)] | list[list[Token]] = ""
    suffix: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    best_of: int | None = None

    @model_validator(mode="after")
    def _reject_unsupported(self) -> CompletionRequest:
        if self.echo:
            raise ValueError("echo=true is not supported here; leave it out")
        if self.best_of is not None and self.best_of != self.answers_per_prompt:
            raise ValueError("best_of other than n is not supported here; leave it out")
        if isinstance(self.prompt, list) and len(self.prompts()) > MAX_PROMPTS:
            raise ValueError(f"prompt holds more than {MAX_PROMPTS} prompts; send them in several requests")
        if len(self.prompts()) * self.answers_per_prompt > MAX_ANSWERS:
            raise ValueError(f"prompt and n ask for more than {MAX_ANSWERS} answers; send several requests")
        if self.suffix and not isinstance(self.prompt, str):
            raise ValueError("suffix needs a prompt that is one string")
        return self

    def prompts(self) -> tuple[Prompt, ...]:
        if isinstance(self.prompt, str):
            return (InfillPrompt(self.prompt, self.suffix) if self.suffix else TextPrompt(self.prompt),)
        if all(isinstance(part, int) for part in self.prompt):  # a flat list of ints is one prompt, given as tokens
            return (TokenPrompt(tuple(self.prompt)),)  # type: ignore[arg-type]
        return tuple(TextPrompt(part) if isinstance(part, str) else TokenPrompt(tuple(part)) for part in self.prompt)  # type: ignore[arg-type]

    def generation_request(self) -> GenerationRequest:
        sampling = self.sampling(self.max_tokens or COMPLETION_DEFAULT_TOKENS, self.logprobs)
        return GenerationRequest(self.prompts(), sampling, self.answers_per_prompt)


class ContentPart(_Request):
    type: Literal["text"]
    text: str


class ChatMessage(_Request):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None

    def plain(self) -> dict[str, str]:
        """Role and text as chat templates know them; ``developer`` is OpenAI's newer name for ``system``."""
        content = self.content or ""
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ResponseFormat(_Request):
    type: str = "text"


class ChatRequest(_GenerationBody):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    response_format: ResponseFormat | None = None

    @model_validator(mode="after")
    def _reject_unsupported(self) -> ChatRequest:
        if self.tools and self.tool_choice != "none":
            raise ValueError("tools are not supported here; leave them out, or set tool_choice to none")
        if self.response_format is not None and self.response_format.type != "text":
            raise ValueError("response_format other than text is not supported here; leave it out")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs to be true")
        return self

    def generation_request(self) -> GenerationRequest:
        prompt = ChatPrompt(tuple(message.plain() for message in self.messages))
        logprobs = (self.top_logprobs or 0) if self.logprobs else None
        return GenerationRequest(
            (prompt,), self.sampling(self.max_completion_tokens or self.max_tokens, logprobs), self.answers_per_prompt
        )


R = TypeVar("R", bound=_GenerationBody)


def parse_request(kind: type[R], body: bytes) -> R:
    """Check a request's body.

    Raises:
        RequestError: it is not JSON, or a field is wrong; the message names it.
    """
    try:
        return kind.model_validate(json.loads(body))
    except ValidationError as error:  # a ValueError too, so it comes first
        raise _request_error(error) from None
    except (ValueError, RecursionError):  # RecursionError: brackets nested thousands deep
        raise RequestError("The request's body is not valid JSON.") from None


def _request_error(error: ValidationError) -> RequestError:
    """The first problem, with the path of its field as OpenAI writes it, e.g. ``messages[0].role``."""
    problem = error.errors(include_url=False)[0]
    location = [str(part) for part in problem["loc"]]
    message = problem["msg"].removeprefix("Value error, ")
    if not location:
        return RequestError(f"{message[:1].upper()}{message[1:]}.")
    field = location[0]
    kinds = {tuple(other["loc"][1:2]) for other in error.errors() if other["loc"][0] == field}
    # pydantic reports one problem for each type of a union; any one of them alone would mislead.
    if len(kinds) > 1 and not location[1].isdigit():
        return RequestError(f"{field}: the value has none of the types that this field may have.", param=field)
    path = field + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in location[1:3] if part.isalnum())
    return RequestError(f"{path}: {message}.", param=field)
