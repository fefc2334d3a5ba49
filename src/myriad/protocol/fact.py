"""What every fact is. `SCHEMA` is stamped on each journal entry.

When a fact changes shape after a release, raise it and add an upgrade to `protocol.wire.UPGRADES`: then old
journals still fold, and older versions refuse new ones. docs/guide/upgrading.md has the rule.
"""

import msgspec

from myriad.kernel.units import Instant

SCHEMA = 1


class Fact(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of everything that can be true. `at` is when it became so."""

    at: Instant
