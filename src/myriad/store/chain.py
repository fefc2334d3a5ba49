"""The chain of digests that every journal carries: change, drop or add one record and the rest disagrees."""

import hashlib
from collections.abc import Iterable

from myriad.kernel.errors import UserError
from myriad.kernel.ports import Record, Verification

#: What the first record is chained to.
GENESIS = bytes(32)


def link(previous: bytes, body: bytes) -> bytes:
    """The digest of a record, given that of the record before it."""
    return hashlib.blake2b(previous + body, digest_size=32).digest()


def walked(records: Iterable[Record]) -> Verification:
    """What a walk over records from the first finds; the problem is what their reading raises."""
    count, digest = 0, GENESIS
    try:
        for record in records:
            count, digest = record.seq, link(digest, record.body)
    except UserError as error:
        return Verification(count, digest.hex(), str(error))
    return Verification(count, digest.hex(), "")
