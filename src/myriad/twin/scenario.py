"""Scenario files: a site, what arrives there, what goes wrong, what is expected of it; composed from parts.

Each section is a mapping, or the name of a file beside the scenario, or a mapping with `from: FILE` whose
other keys lie over that file's. All is read and checked before anything is simulated.
"""

import datetime
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from myriad.control import sitefile
from myriad.control.policyfile import Chosen, choose, from_tree
from myriad.control.sitefile import Setup
from myriad.fleet import hostlist
from myriad.kernel import documents, units
from myriad.kernel.errors import UserError, near
from myriad.kernel.units import Span
from myriad.twin.faults import Faults, Repair
from myriad.twin.faults.checks import check_faults
from myriad.twin.load import Services
from myriad.twin.money import Costs
from myriad.twin.physics import Physics
from myriad.twin.power import Power
from myriad.twin.workload.config import Workload
from myriad.twin.workload.listed import Listed
from myriad.twin.workload.traces import Replay
from myriad.twin.workload.work import Source

#: Sections that are structs of their own; `site` and `policy` are read as everywhere.
_KINDS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "workload": Workload,
    "services": Services,
    "faults": Faults,
    "repair": Repair,
    "physics": Physics,
    "power": Power,
    "costs": Costs,
}
_PLAIN: Final = ("name", "about", "start", "span", "seed", "jobs", "expect")
SECTIONS: Final = ("site", "policy", *_KINDS)
FIELDS: Final = (*_PLAIN, *SECTIONS)


class Scenario(NamedTuple):
    """One simulation, but for its seed."""

    name: str
    setup: Setup
    about: str = ""
    #: Local date (and hour) at which it begins: seasons, weekdays and prices go by it.
    start: str = "2026-01-01"
    span_ns: Span = 0
    seed: int = 0
    workload: Source | None = None
    #: Jobs named one by one, beside the workload.
    jobs: tuple[Listed, ...] = ()
    services: Services = Services()
    faults: Faults | None = None
    repair: Repair = Repair()
    physics: Physics = Physics(whole_gangs=True)
    power: Power | None = None
    costs: Costs | None = None
    #: Where files that it names are.
    folder: Path = Path()
    #: Figure -> what it should be, for people and for `studies.simulation`.
    expect: Mapping[str, str] = {}
    #: Of all that it says.
    digest: str = ""


def tree(path: Path) -> dict[str, Any]:
    """The scenario as plain mappings, its parts put in. Raises UserError naming file and field."""
    return composed(_one(path), path.parent, str(path))


def composed(given: Mapping[str, Any], folder: Path, source: str) -> dict[str, Any]:
    """The same of mappings whose parts are named as seen from `folder`."""
    return {
        name: _part(value, folder, f"{source}: {name}", name) if name in SECTIONS else value
        for name, value in given.items()
    }


def _one(path: Path) -> dict[str, Any]:
    trees = list(documents.documents(documents.read(path), str(path)))
    if len(trees) > 1:
        raise UserError("holds several documents", field=str(path), remedy="Write one of them a file")
    return dict(trees[0])


def _part(given: Any, folder: Path, field: str, section: str) -> Any:
    """A section with its file read, where it is one; a policy may also be a name."""
    if isinstance(given, str):
        if section == "policy" and not (folder / given).exists():
            return given
        return _file(folder / given, field, section)
    if isinstance(given, Mapping) and "from" in given:
        if not isinstance(given["from"], str):
            raise UserError("must be a file", field=f"{field}: from", value=given["from"])
        base = _file(folder / given["from"], field, section)
        return over(base, {key: value for key, value in given.items() if key != "from"})
    return given


def _file(path: Path, field: str, section: str) -> Any:
    """A part, which may lie over another; a site's policy is a name, or a file beside the site."""
    found = _part(_one(path), path.parent, field, section)
    if section == "site" and isinstance(found.get("policy"), str):
        found["policy"] = _policy_tree(found["policy"], path.parent)
    return found


def _policy_tree(word: str, folder: Path) -> Any:
    chosen = choose(str(folder / word) if (folder / word).exists() else word)
    return msgspec.to_builtins(chosen.policy)


def over(base: Any, top: Any) -> Any:
    """`top` laid over `base`: mappings by key, everything else as a whole."""
    if isinstance(base, Mapping) and isinstance(top, Mapping):
        return {**base, **{key: over(base.get(key), value) for key, value in top.items()}}
    return top


def put(given: dict[str, Any], path: str, value: Any) -> None:
    """Set one field of a tree by its path, such as `policy.recover.silence`."""
    *folders, last = path.split(".")
    for name in folders:
        below = given.get(name)
        if below is None:
            below = given[name] = {}
        if not isinstance(below, dict):
            raise UserError("is not a mapping", field=path, value=below, remedy=f"{name} has no fields")
        given = below
    given[last] = value


def of_tree(given: Mapping[str, Any], source: str, folder: Path | None = None) -> Scenario:
    """The scenario of plain mappings. Raises UserError naming the field, the value and the remedy."""
    for name in given:
        if name not in FIELDS:
            raise UserError("is not a known field", field=f"{source}: {name}", remedy=near(str(name), FIELDS))
    if not isinstance(given.get("site"), Mapping):
        raise UserError(
            "has no site", field=source, remedy="Give site: a file such as sites/mine.yaml, or a mapping"
        )
    found: dict[str, Any] = {
        name: documents.convert(given[name], kind, f"{source}: {name}")
        for name, kind in _kinds(given).items()
        if given.get(name) is not None
    }
    if isinstance(replay := found.get("workload"), Replay):
        found["workload"] = replay.open(folder or Path())
    setup = _setup(given, source, folder)
    if isinstance(faults := found.get("faults"), Faults):
        check_faults(faults, setup.site, f"{source}: faults")
        _check_patience(setup, found.get("repair", Repair()), source)
    return Scenario(
        name=str(given.get("name") or Path(source).stem),
        about=str(given.get("about", "")),
        start=_start(given.get("start", "2026-01-01"), source),
        span_ns=_span(given.get("span", "30d"), source),
        seed=_seed(given.get("seed", 0), source),
        setup=setup,
        jobs=tuple(documents.convert(given.get("jobs") or [], list[Listed], f"{source}: jobs")),
        folder=folder or Path(),
        expect=_expected(given.get("expect") or {}, source),
        digest=_digest(given),
        **found,
    )


def _check_patience(setup: Setup, repair: Repair, source: str) -> None:
    """A brain that does not wait for the check after a repair never gets a node back."""
    patience = setup.policy.recover.repair_timeout
    # the world's delays may be longer than they say, by its jitter
    if units.span_ns(patience) < 2 * units.span_ns(repair.burn_in):
        raise UserError(
            f"is less than two burn-ins ({repair.burn_in}): no node would come back from repair",
            field=f"{source}: policy.recover.repair_timeout",
            value=patience,
            remedy="Write 60d, or make repair.burn_in shorter",
        )


def _digest(given: Mapping[str, Any]) -> str:
    """The same whatever the order of the keys, all of which JSON makes texts."""
    plain = msgspec.json.decode(msgspec.json.encode(given))
    return hashlib.blake2b(msgspec.json.encode(plain, order="sorted"), digest_size=8).hexdigest()


def _kinds(given: Mapping[str, Any]) -> Mapping[str, type[msgspec.Struct]]:
    """A workload that names a trace is a replay."""
    workload = given.get("workload")
    replay = isinstance(workload, Mapping) and "trace" in workload
    return {**_KINDS, "workload": Replay} if replay else _KINDS


def read(path: Path) -> Scenario:
    """The scenario of a file. Raises UserError."""
    return of_tree(tree(path), str(path), path.parent)


def _setup(given: Mapping[str, Any], source: str, folder: Path | None) -> Setup:
    site, policy = dict(given["site"]), given.get("policy")
    _count_spares(site, source)
    if isinstance(policy, str):
        setup = sitefile.of_tree({**site, "policy": {}}, f"{source}: site", folder)
        return setup.under(choose(policy))
    if isinstance(policy, Mapping):
        site["policy"] = over(site.get("policy") or {}, policy)
    setup = sitefile.of_tree({**site, "policy": {}}, f"{source}: site", folder)
    chosen = from_tree(dict(site.get("policy") or {}), f"{source}: policy", folder)
    return setup.under(chosen if site.get("policy") else Chosen(chosen.policy, chosen.own, "default"))


def _count_spares(site: dict[str, Any], source: str) -> None:
    """`spares: 1%`: that share of the nodes, rounded."""
    spares = site.get("spares")
    if not isinstance(spares, str) or not spares.endswith("%"):
        return
    try:
        share = float(spares[:-1]) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise UserError(
            "is not a share of the nodes",
            field=f"{source}: site.spares",
            value=spares,
            remedy="Write 1% or a number",
        )
    pods = [pod for pod in site.get("pods", ()) if isinstance(pod, Mapping)]
    site["spares"] = round(share * sum(map(_nodes, pods)))


def _nodes(pod: Mapping[str, Any]) -> int:
    """Nodes of a pod as it is written; what is wrong with it, the site itself says later."""
    hosts = pod.get("hosts")
    if not isinstance(hosts, Mapping):
        return int(pod.get("racks", 0)) * int(pod.get("nodes_per_rack", 0))
    with suppress(ValueError):
        return sum(len(hostlist.expand(str(text))) for text in hosts.values())
    return 0


def _span(given: Any, source: str) -> Span:
    try:
        span_ns = units.span_ns(str(given))
    except ValueError as error:
        raise UserError(str(error), field=f"{source}: span", value=given, remedy="Write 90d") from None
    if span_ns <= 0:
        raise UserError("must be more than 0", field=f"{source}: span", value=given, remedy="Write 90d")
    return span_ns


def _seed(given: Any, source: str) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise UserError("must be a whole number", field=f"{source}: seed", value=given, remedy="Write 7")
    return given


def _start(given: Any, source: str) -> str:
    try:
        return datetime.datetime.fromisoformat(str(given)).isoformat()
    except ValueError:
        remedy = "Write 2026-06-01 or 2026-06-01T08:00"
        raise UserError("is not a date", field=f"{source}: start", value=str(given), remedy=remedy) from None


def _expected(given: Any, source: str) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise UserError(
            "must be a mapping", field=f"{source}: expect", value=given, remedy="goodput: '>= 0.9'"
        )
    return {str(figure): str(value) for figure, value in given.items()}
