"""A small typed client of the REST API, for the command line and for programs such as the demo.

Whatever a person can mend is raised as UserError, with the server's own field, problem and remedy.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import httpx
import msgspec

from myriad.control.holdings import TenantView, WindowView
from myriad.control.policy import Policy
from myriad.control.records import Ended
from myriad.control.views import Explanation, IncidentView, JobView, NodeView, ServiceView, SiteView
from myriad.kernel.errors import UserError
from myriad.kernel.units import Instant
from myriad.ledger import views as books
from myriad.ledger.costs import Cost
from myriad.ledger.domains import DomainView, SizeView
from myriad.ledger.invoices import Invoice
from myriad.ledger.predictions import Calibration, Score
from myriad.protocol.facts import AnyFact
from myriad.protocol.values import Forecast

T = TypeVar("T")
_PREFIX = "/api/v1"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of /healthz."""

    ok: bool
    version: str
    site: str = ""
    journal_seq: int = 0
    role: str = "leader"
    term: int = 0
    leader_url: str = ""
    leader: str = ""


class Site(SiteView, frozen=True, kw_only=True):
    """The site, and where its control plane listens."""

    api_url: str = ""
    gateway_url: str = ""
    started_at: int = 0


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """The policy of a control plane."""

    source: str
    policy: Policy
    classes: dict[str, str] = {}


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to a submission."""

    job: JobView
    explanation: Explanation


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to tenants applied; keys are those minted now."""

    applied: tuple[str, ...]
    keys: dict[str, str] = {}


class IssuedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new key; it is shown once."""

    key_id: str
    key: str


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry."""

    seq: int
    cause: str
    facts: tuple[AnyFact, ...]


class JournalPage(msgspec.Struct, frozen=True, kw_only=True):
    """Entries after a number, and the last number there is."""

    entries: tuple[JournalEntry, ...]
    last: int


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk over the journal found, and whether it folds to the live state."""

    records: int
    digest: str
    problem: str = ""
    state_digest_live: str = ""
    state_digest_folded: str = ""
    equal: bool = True


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a job."""

    at: int
    cause: str
    fact: str
    text: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one job. Buckets are finer than the site's: they say whose cause it was."""

    job: JobView
    attempts: tuple[Ended, ...]
    buckets: dict[str, int]
    forecast: Forecast | None
    started_at: int
    finished_at: int
    step_ns: int
    chip_ns: int
    story: tuple[Moment, ...]


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The books; `site` is None for those who may not see the whole."""

    site: books.SiteView | None
    tenants: tuple[books.TenantView, ...]
    jobs: tuple[books.JobView, ...]
    services: tuple[books.ServiceView, ...]
    pods: tuple[DomainView, ...] = ()
    racks: tuple[DomainView, ...] = ()
    sizes: tuple[SizeView, ...] = ()
    cost: Cost | None = None


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """Promises beside outcomes."""

    scores: tuple[Score, ...]
    calibration: Calibration


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """The site is closed."""

    gangs_left: tuple[str, ...] = ()


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    title: str = ""
    detail: str = ""
    field: str | None = None
    value: Any = None
    problem: str | None = None
    remedy: str | None = None


class Client:
    """One control plane, as seen with one key."""

    def __init__(self, url: str, key: str = "", *, timeout_s: float = 60.0) -> None:
        self.url = url.rstrip("/").removesuffix(_PREFIX)
        self.key = key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # the environment's proxies are for the world outside, not for a control plane one names
        # plain HTTP has nothing to verify, and loading certificates takes longer than most requests
        verify = self.url.startswith("https")
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout_s, trust_env=False, verify=verify
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- site, nodes ---------------------------------------------------------------------------

    def health(self) -> Health:
        """Whether it is up. Needs no key."""
        return self._ask("GET", "/healthz", Health)

    def site(self) -> Site:
        """The site in one look."""
        return self._ask("GET", "/site", Site)

    def policy(self) -> InForce:
        """What it decides by."""
        return self._ask("GET", "/policy", InForce)

    def close_site(self, grace_s: float) -> Closed:
        """Stop everything after a checkpoint; the server ends itself afterwards."""
        return self._ask("POST", "/site/close", Closed, body={"grace_s": grace_s}, timeout_s=grace_s + 60)

    def nodes(self) -> list[NodeView]:
        """Every node."""
        return self._ask("GET", "/nodes", list[NodeView])

    def drain(self, node: str, reason: str) -> None:
        """Ask everything on the node to leave."""
        self._ask("POST", f"/nodes/{node}/drain", object, body={"reason": reason})

    def undrain(self, node: str) -> None:
        """Give the node back."""
        self._ask("POST", f"/nodes/{node}/undrain", object)

    def incidents(self) -> list[IncidentView]:
        """Events that took many nodes."""
        return self._ask("GET", "/incidents", list[IncidentView])

    # ---- windows -------------------------------------------------------------------------------

    def windows(self) -> list[WindowView]:
        """Reservations and maintenance."""
        return self._ask("GET", "/windows", list[WindowView])

    def keep(self, body: Any) -> WindowView:
        """Set a window."""
        return self._ask("POST", "/windows", WindowView, body=body)

    def end_window(self, name: str) -> None:
        """Give its nodes back."""
        self._ask("DELETE", f"/windows/{name}", object)

    # ---- tenants, keys -------------------------------------------------------------------------

    def tenants(self) -> list[TenantView]:
        """Every tenant."""
        return self._ask("GET", "/tenants", list[TenantView])

    def apply_tenants(self, specs: list[Any]) -> Applied:
        """Create or change tenants."""
        return self._ask("POST", "/tenants", Applied, body={"tenants": specs})

    def issue_key(self, tenant: str) -> IssuedKey:
        """A further key of a tenant."""
        return self._ask("POST", f"/tenants/{tenant}/keys", IssuedKey)

    def revoke_key(self, key_id: str) -> None:
        """The key is no longer good."""
        self._ask("DELETE", f"/keys/{key_id}", object)

    # ---- jobs ----------------------------------------------------------------------------------

    def jobs(self, tenant: str = "") -> list[JobView]:
        """Jobs, oldest first."""
        return self._ask("GET", "/jobs", list[JobView], query={"tenant": tenant} if tenant else {})

    def job(self, job: str) -> JobView:
        """One job, by id or by the name of the newest."""
        return self._ask("GET", f"/jobs/{job}", JobView)

    def submit(self, spec: Any, *, dry_run: bool = False, once: str = "") -> Submitted:
        """Ask for a job; the same `once` again is the same job."""
        headers = {"Idempotency-Key": once} if once else {}
        query = {"dry_run": "1"} if dry_run else {}
        return self._ask("POST", "/jobs", Submitted, body={"spec": spec}, query=query, headers=headers)

    def explain(self, job: str) -> Explanation:
        """Why the job is where it is."""
        return self._ask("GET", f"/jobs/{job}/explain", Explanation)

    def cancel(self, job: str) -> None:
        """Stop the job."""
        self._ask("POST", f"/jobs/{job}/cancel", object)

    def report(self, job: str) -> Report:
        """Everything about a job."""
        return self._ask("GET", f"/jobs/{job}/report", Report)

    def logs(self, job: str, *, rank: int = 0, follow: bool = False, tail: int = 100) -> Iterator[str]:
        """Pieces of the output of one rank as they come."""
        query = {"rank": str(rank), "tail": str(tail)} | ({"follow": "1"} if follow else {})
        yield from self._stream(f"/jobs/{job}/logs", query)

    # ---- services ------------------------------------------------------------------------------

    def services(self) -> list[ServiceView]:
        """Services that one may see."""
        return self._ask("GET", "/services", list[ServiceView])

    def serve(self, spec: Any) -> ServiceView:
        """Create or change a service."""
        return self._ask("POST", "/services", ServiceView, body={"spec": spec})

    def unserve(self, name: str) -> None:
        """Remove a service."""
        self._ask("DELETE", f"/services/{name}", object)

    # ---- books ---------------------------------------------------------------------------------

    def ledger(self, tenant: str = "", *, racks: bool = False) -> Ledger:
        """Where chip-time went."""
        query = {"tenant": tenant} if tenant else {}
        return self._ask("GET", "/ledger", Ledger, query=query | ({"racks": "true"} if racks else {}))

    def invoice(self, tenant: str, period: tuple[Instant, Instant] | None = None) -> Invoice:
        """What a tenant owes, for a period or since the books began."""
        query = {"from": str(period[0]), "to": str(period[1])} if period else {}
        return self._ask("GET", f"/invoices/{tenant}", Invoice, query=query)

    def predictions(self) -> Predictions:
        """Promises against outcomes."""
        return self._ask("GET", "/predictions", Predictions)

    def journal(self, after: int = 0, limit: int = 1000) -> JournalPage:
        """Entries with a number above `after`."""
        return self._ask("GET", "/journal", JournalPage, query={"after": str(after), "limit": str(limit)})

    def verify(self) -> Verified:
        """Walk the journal and fold it again."""
        return self._ask("POST", "/journal/verify", Verified, timeout_s=600)

    def report_html(self) -> str:
        """The site's report as one HTML page."""
        return self._send("GET", f"{_PREFIX}/report.html", timeout_s=120).text

    # ---- the wire ------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        type_: type[T],
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> T:
        where = path if path == "/healthz" else _PREFIX + path
        answer = self._send(method, where, body=body, query=query, headers=headers, timeout_s=timeout_s)
        try:
            return msgspec.json.decode(answer.content, type=type_)
        except msgspec.MsgspecError as error:
            raise UserError(
                f"answered {method} {where} in a way this client does not understand: {error}",
                field="control plane",
                value=self.url,
                remedy="Use the same version of Myriad on both sides",
            ) from None

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        more = {} if body is None else {"Content-Type": "application/json"}
        timeout = httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s
        with self._explained():
            answer = self._http.request(
                method,
                path,
                content=content,
                params=query,
                headers={**more, **(headers or {})},
                timeout=timeout,
            )
        if answer.is_error:
            raise self._refused(answer)
        return answer

    def _stream(self, path: str, query: Mapping[str, str]) -> Iterator[str]:
        patient = httpx.Timeout(60.0, read=None)
        stream = self._http.stream("GET", _PREFIX + path, params=query, timeout=patient)
        with self._explained(), stream as answer:
            if answer.is_error:
                answer.read()
                raise self._refused(answer)
            yield from answer.iter_text()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn trouble of the network into errors for people."""
        try:
            yield
        except httpx.TimeoutException:
            raise UserError(
                "did not answer in time",
                field="control plane",
                value=self.url,
                remedy="Look into server.log in its home",
                status=504,
            ) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise UserError(
                str(error), field="url", value=self.url, remedy="Write it like http://127.0.0.1:7700"
            ) from None
        except httpx.TransportError as error:
            raise UserError(
                f"does not answer: {error}",
                field="control plane",
                value=self.url,
                remedy="Start it with `myriad up`",
                status=503,
            ) from None

    def _refused(self, answer: httpx.Response) -> UserError:
        try:
            told = msgspec.json.decode(answer.content, type=_Problem)
        except msgspec.MsgspecError:
            told = _Problem(title=f"answered {answer.status_code} {answer.reason_phrase}")
        return UserError(
            told.problem or told.detail or told.title,
            field=told.field or "",
            value=told.value,
            remedy=told.remedy or "",
            status=answer.status_code,
        )
