"""The wire form of a step's facts: one journal entry in JSON.

It carries a schema number, so that entries of older versions still fold, record by record: one journal may
hold entries of several. When the number goes up: docs/guide/upgrading.md.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from myriad.kernel.errors import UserError
from myriad.protocol.fact import SCHEMA
from myriad.protocol.facts import AnyFact, Fact


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The facts of one step, and the input that caused them."""

    cause: str  # the input's type and subject, for people: `CancelJob tiny-llama-1`
    facts: tuple[AnyFact, ...]
    schema: int = 0


class _Schema(msgspec.Struct, frozen=True, kw_only=True):
    schema: int = 0


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    cause: str
    facts: list[dict[str, Any]]
    schema: int = 0


#: schema number -> what turns its facts (plain mappings) into those of the next number.
UPGRADES: dict[int, Callable[[list[dict[str, Any]]], list[dict[str, Any]]]] = {}

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)
_plain = msgspec.json.Decoder(_Envelope)
#: Skips the facts: every entry of a journal goes through here when it is folded.
_schema = msgspec.json.Decoder(_Schema)


def encode(cause: str, facts: Sequence[Fact]) -> bytes:
    """One journal line."""
    return _encoder.encode({"cause": cause, "facts": facts, "schema": SCHEMA})


def decode(body: bytes) -> Entry:
    """An entry of any schema up to ours. Raises UserError for a newer or damaged one."""
    try:
        schema = _schema.decode(body).schema
        if schema == SCHEMA:
            return _decoder.decode(body)
        return _upgraded(body, schema)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise UserError(
            f"cannot be read: {error}",
            field="journal entry",
            remedy="Run myriad journal --verify; if all is whole, a newer Myriad wrote it: start that",
        ) from None


def _upgraded(body: bytes, schema: int) -> Entry:
    if schema > SCHEMA:
        raise UserError(
            "was written by a newer Myriad",
            field="journal schema",
            value=schema,
            remedy=f"This one reads up to {SCHEMA}: upgrade it",
        )
    envelope = _plain.decode(body)
    facts = envelope.facts
    for number in range(schema, SCHEMA):
        if number not in UPGRADES:
            raise UserError(
                "is older than this Myriad can read",
                field="journal schema",
                value=schema,
                remedy="Start a version between the two once, then this one",
            )
        facts = UPGRADES[number](facts)
    return msgspec.convert({"cause": envelope.cause, "facts": facts, "schema": SCHEMA}, Entry)
