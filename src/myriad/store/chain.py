"""The chain of digests that every journal carries: change, drop or add one record and the rest disagrees."""

import hashlib

#: What the first record is chained to.
GENESIS = bytes(32)


def link(previous: bytes, body: bytes) -> bytes:
    """The digest of a record, given that of the record before it."""
    return hashlib.blake2b(previous + body, digest_size=32).digest()
