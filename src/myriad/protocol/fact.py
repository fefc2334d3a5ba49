"""What every fact is. `SCHEMA` is stamped on each journal entry.

When a fact changes shape, raise it and add an upgrade to `protocol.wire.UPGRADES`, so that old journals still
fold.
"""

import msgspec

from myriad.kernel.units import Instant

SCHEMA = 1


class Fact(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of everything that can be true. `at` is when it became so."""

    at: Instant
