"""Which control plane a command talks to, and as whom: options, environment, then the home's files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from myriad.kernel.errors import UserError, near

if TYPE_CHECKING:
    # half a second that only commands which talk to a server wait for
    from myriad.cli.client import Client

DEFAULT_HOME = "~/.myriad"

T = TypeVar("T")


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """`context.json`: what a control plane wrote about itself when it started."""

    api_url: str
    gateway_url: str = ""
    key: str = ""
    #: Where its journal is, and what its nodes share; empty: in the home.
    journal: str = ""
    data: str = ""


class Context:
    """What the options before the command said."""

    def __init__(self, home: str = "", url: str = "", key: str = "", tenant: str = "") -> None:
        self.home = Path(home or DEFAULT_HOME).expanduser().absolute()
        self._url, self._key, self._tenant = url, key, tenant

    @property
    def remote(self) -> bool:
        """Whether an address was named that is not this home's."""
        return bool(self._url)

    def addresses(self) -> Addresses | None:
        """What the home knows of its control plane; None before the first start."""
        return _read(self.home / "context.json", Addresses)

    def client(self) -> "Client":
        """A client of the control plane. Raises UserError when there is none, or no key for it."""
        known = self.addresses()
        url = self._url or (known.api_url if known else "")
        if not url:
            raise UserError(
                "has no control plane yet",
                field="home",
                value=str(self.home),
                remedy="Start one with `myriad up`, or name another with --home or --url",
            )
        return _client(url, self._bearer(known))

    def local(self) -> "Client":
        """A client of the control plane of this home, with the operator's key, whatever options say."""
        known = self.addresses()
        if not known:
            raise UserError("has no control plane yet", field="home", value=str(self.home), status=503)
        return _client(known.api_url, known.key)

    def gateway(self, client: "Client") -> str:
        """The address of the gateway, without a trailing `/v1`."""
        known = self.addresses()
        url = known.gateway_url if known and not self._url else client.site().gateway_url
        return url.rstrip("/").removesuffix("/v1")

    def _bearer(self, known: Addresses | None) -> str:
        if self._key:
            return self._key
        if self._tenant:
            return self._key_of(self._tenant)
        if known and known.key:
            return known.key
        raise UserError("is missing", field="key", remedy="Set MYRIAD_KEY, or give --key or --as TENANT")

    def _key_of(self, tenant: str) -> str:
        keys = self.keys()
        if tenant not in keys:
            raise UserError(
                f"there is no key on this machine ({self.home / 'keys.json'})",
                field="--as",
                value=tenant,
                remedy=near(tenant, keys) + " `myriad key issue TENANT` makes a new one",
            )
        return keys[tenant]

    # ---- keys of tenants, kept on the machine where they were issued -----------------------------

    def keys(self) -> dict[str, str]:
        """Tenant -> key."""
        return _read(self.home / "keys.json", dict[str, str]) or {}

    def keep_keys(self, new: dict[str, str]) -> Path:
        """Remember keys; only the owner of the home may read them. Returns the file."""
        path = self.home / "keys.json"
        building = path.with_name("keys.json.new")
        self.home.mkdir(parents=True, exist_ok=True)
        building.unlink(missing_ok=True)
        with os.fdopen(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self.keys() | new), indent=2))
        os.replace(building, path)
        return path


def _client(url: str, key: str) -> "Client":
    from myriad.cli.client import Client

    return Client(url, key)


def _read(path: Path, type_: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(error.strerror or str(error), field="file", value=str(path)) from None
    except msgspec.MsgspecError as error:
        raise UserError(
            f"is not as Myriad wrote it: {error}", field="file", value=str(path), remedy="Move it away"
        ) from None


#: Hands the command its Context.
given = click.make_pass_decorator(Context)
