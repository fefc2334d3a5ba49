"""What a replica answers, in our words: the model's name, usage where it belongs, an end that can be told.

Engines differ in how they end a stream. transformers puts usage into the chunk with the finish reason
and sends no `[DONE]`; vLLM sends usage in a chunk of its own. Clients of ours always see the same:
chunks without usage, one usage chunk if they asked for it, then `[DONE]`.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

_RAW = msgspec.json.Decoder(dict[str, Raw])
_NULL = Raw(b"null")


class Usage(msgspec.Struct):
    """Tokens as an engine counts them; its other fields pass through elsewhere."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Delta(msgspec.Struct):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None

    def says(self) -> bool:
        return bool(
            self.content or self.tool_calls or self.reasoning_content or self.reasoning or self.refusal
        )


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None

    def says(self) -> bool:
        return bool(self.text or (self.delta and self.delta.says()))


_CHOICES = msgspec.json.Decoder(list[_Choice])
_USAGE = msgspec.json.Decoder(Usage | None)


class Garbled(Exception):
    """The replica's answer is not what its protocol says, or says that the replica cannot go on."""


def decoded(payload: bytes) -> dict[str, Raw]:
    """A JSON object by field. Raises Garbled."""
    try:
        return _RAW.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Garbled(f"sent what is not a JSON object: {error}") from None


class Tally:
    """Tokens of one answer: the engine's own count when it gives one, else one for each piece."""

    def __init__(self) -> None:
        self.pieces = 0
        self.usage: Usage | None = None

    def read(self, fields: dict[str, Raw]) -> None:
        """Take the engine's count from a reply or chunk, if it is there."""
        try:
            usage = _USAGE.decode(fields["usage"]) if "usage" in fields else None
        except msgspec.DecodeError as error:
            raise Garbled(f"sent usage that cannot be read: {error}") from None
        self.usage = usage or self.usage

    @property
    def completion_tokens(self) -> int:
        """Tokens produced so far."""
        return self.usage.completion_tokens if self.usage else self.pieces


class Whole:
    """An answer that is not streamed."""

    def __init__(self, body: bytes, model: str) -> None:
        self._fields = decoded(body)
        self.tally = Tally()
        self.tally.read(self._fields)
        self._fields["model"] = Raw(msgspec.json.encode(model))

    def body(self) -> bytes:
        """The answer as the client gets it."""
        return msgspec.json.encode(self._fields)

    def choices_bytes(self) -> int:
        """Its size, from which tokens are estimated when the engine did not count them."""
        return len(memoryview(self._fields.get("choices", Raw(b""))))


class Stream:
    """A streamed answer: feed it what arrives, send on what it returns."""

    def __init__(self, model: str) -> None:
        self._model = Raw(msgspec.json.encode(model))
        self._rest = b""
        self._last: dict[str, Raw] = {}
        self._usage: Raw | None = None
        self.tally = Tally()
        #: A token has come: from here on another replica cannot take over.
        self.begun = False
        #: The engine has said that the answer is complete.
        self.complete = False
        #: Why nothing good can follow.
        self.trouble: Garbled | None = None

    def feed(self, block: bytes) -> bytes:
        """The events of a block as the client gets them; an unfinished one is kept.

        At an event that cannot be passed on it stops, and `trouble` says what it was.
        """
        ready = b""
        try:
            for payload in self._payloads(block):
                ready += self._chunk(payload)
        except Garbled as trouble:
            self.trouble = trouble
        return ready

    def end(self, wants_usage: bool) -> bytes:
        """What closes a complete stream."""
        if not (wants_usage and self._usage):
            return b"data: [DONE]\n\n"
        closing = {**self._last, "choices": Raw(b"[]"), "usage": self._usage}
        return b"data: " + msgspec.json.encode(closing) + b"\n\ndata: [DONE]\n\n"

    def _payloads(self, block: bytes) -> Iterator[bytes]:
        text = self._rest + block
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        *events, self._rest = text.split(b"\n\n")
        for event in events:
            lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
            if lines:
                yield b"\n".join(lines)

    def _chunk(self, payload: bytes) -> bytes:
        if payload == b"[DONE]":
            self.complete = True
            return b""
        fields = self._fields(payload)
        self.tally.read(fields)
        usage = fields.pop("usage", None)
        if usage is not None and usage != _NULL:
            self._usage = usage
        fields["model"] = self._model
        self._last = fields
        if not self._counts(fields):
            return b""
        return b"data: " + msgspec.json.encode(fields) + b"\n\n"

    @staticmethod
    def _fields(payload: bytes) -> dict[str, Raw]:
        try:
            fields = decoded(payload)
        except Garbled:
            if payload.startswith(b'{"error"'):  # transformers does not escape what it quotes there
                raise Garbled(payload.decode("utf-8", "replace")[:500]) from None
            raise
        if fields.get("error", _NULL) != _NULL:
            raise Garbled(told(payload))
        return fields

    def _counts(self, fields: dict[str, Raw]) -> bool:
        """Read a chunk's choices; False when it has none."""
        try:
            choices = _CHOICES.decode(fields["choices"]) if "choices" in fields else []
        except msgspec.DecodeError as error:
            raise Garbled(f"sent choices that cannot be read: {error}") from None
        for choice in choices:
            if choice.says():
                self.begun = True
                self.tally.pieces += 1
            if choice.finish_reason:
                self.complete = True
        return bool(choices)


def told(body: bytes) -> str:
    """What an engine says is wrong: OpenAI's error object, FastAPI's detail, or just its text."""
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode("utf-8", "replace").strip()[:500]
    said = tree.get("error") or tree.get("detail") or tree if isinstance(tree, dict) else tree
    said = said.get("message", said) if isinstance(said, dict) else said
    return said[:500] if isinstance(said, str) else msgspec.json.encode(said).decode()[:500]
