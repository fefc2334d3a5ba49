"""Who asks: keys `myr_<role>_<random>`. Only their hashes are kept, here and in the journal.

A key holds 256 random bits, so a plain fast hash is enough: there is nothing to guess.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from myriad.control.records import Key
from myriad.kernel.errors import UserError
from myriad.kernel.ids import KeyId, TenantId
from myriad.protocol import facts
from myriad.protocol.facts import Fact
from myriad.protocol.values import Role


class Minted(NamedTuple):
    """A key at the only moment when its text is known."""

    id: KeyId
    text: str
    hash: str


def mint(role: Role) -> Minted:
    """A new key."""
    text = f"myr_{role}_{secrets.token_urlsafe(32)}"
    return Minted(KeyId(f"key-{secrets.token_hex(5)}"), text, hashed(text))


def hashed(text: str) -> str:
    """What is kept of a key."""
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


class Caller(NamedTuple):
    """Whose request it is."""

    key: KeyId
    role: Role
    tenant: TenantId

    @property
    def scope(self) -> TenantId | None:
        """The tenant whose things alone it may see; None: everything."""
        return self.tenant if self.role == "tenant" else None


class Keys:
    """The good keys by hash: an observer of the wheel."""

    def __init__(self) -> None:
        self._by_hash: dict[str, Key] = {}
        self._hashes: dict[KeyId, str] = {}

    def observe(self, _seq: int, _cause: str, happened: Sequence[Fact]) -> None:
        """Follow the journal."""
        for fact in happened:
            if isinstance(fact, facts.KeySet):
                key = Key(key=fact.key, key_hash=fact.key_hash, role=fact.role, tenant=fact.tenant)
                self._by_hash[fact.key_hash] = key
                self._hashes[fact.key] = fact.key_hash
            elif isinstance(fact, facts.KeyRevoked):
                self._by_hash.pop(self._hashes.pop(fact.key, ""), None)

    def find(self, text: str) -> Caller | None:
        """Whose key this is; None when it is unknown or revoked."""
        digest = hashed(text)
        key = self._by_hash.get(digest)
        if key is None or not hmac.compare_digest(key.key_hash, digest):
            return None
        return Caller(key.key, key.role, key.tenant)

    def of_tenant(self, tenant: TenantId) -> list[KeyId]:
        """Ids of the tenant's good keys."""
        return [key.key for key in self._by_hash.values() if key.role == "tenant" and key.tenant == tenant]


def bearer(header: str) -> str:
    """The key of an Authorization header. Raises UserError (401)."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise UserError(
            "is missing",
            field="Authorization",
            remedy="Send the header `Authorization: Bearer <key>` (myriad up prints the operator's)",
            status=401,
        )
    return text.strip()


def unknown_key() -> UserError:
    """The answer to a key that is not good. It does not repeat the key."""
    return UserError(
        "is not known here, or was revoked",
        field="Authorization",
        remedy="Ask the site's operator for a key (myriad key issue TENANT)",
        status=401,
    )
