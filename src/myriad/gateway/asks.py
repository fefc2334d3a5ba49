"""What a client asks: checked, its prompt's opening kept for routing, the rest passed on untouched.

Known fields must have the right type, so that the error names the field in our words and not in some
engine's; unknown ones go through, because engines have extensions of their own. The values themselves
are kept as raw JSON: a prompt of a megabyte is looked at once and never rebuilt.
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from myriad.gateway.faults import Refusal

Endpoint = Literal["chat/completions", "completions"]
_Positive = Annotated[int, Meta(ge=1)]


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Fields(msgspec.Struct):
    model: str
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: _Positive | None = None
    max_completion_tokens: _Positive | None = None
    n: _Positive | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    user: str | None = None


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content)
        return self.content or ""


class _Chat(_Fields, kw_only=True):
    messages: Annotated[list[_Message], Meta(min_length=1)]

    def opening(self) -> str:
        """The conversation up to its first user message: it stays the same from turn to turn."""
        texts = []
        for message in self.messages:
            texts.append(message.text())
            if message.role == "user":
                break
        return "\n".join(texts)

    def characters(self) -> int:
        return sum(len(message.text()) for message in self.messages)


class _Completion(_Fields, kw_only=True):
    prompt: str | list[str | int | list[int]]

    def opening(self) -> str:
        return self.prompt if isinstance(self.prompt, str) else str(self.prompt[:256])

    def characters(self) -> int:
        return len(self.prompt if isinstance(self.prompt, str) else str(self.prompt))


_DECODERS: dict[Endpoint, msgspec.json.Decoder[Any]] = {
    "chat/completions": msgspec.json.Decoder(_Chat),
    "completions": msgspec.json.Decoder(_Completion),
}
_RAW = msgspec.json.Decoder(dict[str, Raw])
_PATH = re.compile(r"^(?P<text>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `([^`]*)`")


class Ask:
    """One checked request."""

    def __init__(self, endpoint: Endpoint, body: bytes, affinity_chars: int) -> None:
        self.endpoint: Endpoint = endpoint
        asked = _checked(endpoint, body)
        self.model: str = asked.model
        self.stream = bool(asked.stream)
        self.wants_usage = bool(asked.stream_options and asked.stream_options.include_usage)
        self.prefix: str = asked.opening()[:affinity_chars]
        self.prompt_chars: int = asked.characters()
        self._fields = _RAW.decode(body)

    def body(self, upstream_model: str, engine: str) -> bytes:
        """The request in the words of one replica."""
        fields = {**self._fields, "model": Raw(msgspec.json.encode(upstream_model))}
        if self.stream:
            options = {"include_usage": True}
            if engine in ("vllm", "sglang"):
                # usage with every chunk: exact even for a stream that is cut
                options["continuous_usage_stats"] = True
            fields["stream_options"] = Raw(msgspec.json.encode(options))
        else:
            fields.pop("stream_options", None)
        return msgspec.json.encode(fields)


def _checked(endpoint: Endpoint, body: bytes) -> Any:
    try:
        return _DECODERS[endpoint].decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(
            400, f"The body is not valid JSON: {error}. Send one JSON object.", code="invalid_json"
        ) from None


def _invalid(message: str) -> Refusal:
    match = _PATH.match(message)
    assert match, message
    text, path = match["text"], match["path"] or ""
    if missing := _MISSING.search(text):
        path = f"{path}.{missing[1]}" if path else missing[1]
        return Refusal(400, f"{path} is required.", code="missing_required_parameter", param=path)
    text = text.replace("Expected", "expected", 1).replace("`", "")
    where = path or "The body"
    return Refusal(400, f"{where}: {text}.", code="invalid_type", param=path or None)
