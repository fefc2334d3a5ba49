"""Published figures of reliability beside ours: a closed form, a Monte Carlo of one gang, and the whole twin.

The facts are data (`data/reliability.yaml`), each with its source; how each kind is computed is in
`reliability_models`. The twin's column is filled by whoever has a twin: `judge(..., twin=...)`.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from myriad.kernel import documents, units
from myriad.kernel.errors import UserError, near
from myriad.kernel.rng import Stream
from myriad.performance import goodput
from myriad.twin.faults import Faults
from myriad.twin.faults.times import Way

Kind = Literal["mttf", "count", "causes", "ettr", "incidents", "restart", "lemons"]
#: A closed form is said to hold while it is off by less than this.
HOLDS: Final = 0.01


class Figure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published figure, and what it takes to compute ours."""

    id: str
    what: str
    kind: Kind
    unit: str
    published: float
    #: `10 %` of the published value, `0.02` absolute, or `at least`.
    tolerance: str
    source: str
    mark: Literal["seen", "secondary", "memory", "claim"]
    #: calibrated: a constant of ours was fitted to it. shaped: an input, or the form of the model, was chosen
    #: by us knowing it. predicted: neither. Only the last says anything of the model.
    basis: Literal["predicted", "shaped", "calibrated"] = "predicted"
    note: str = ""
    chips: int
    #: Shipped part with the hazards, if they are named: `faults-<part>.yaml`.
    part: str = ""
    days: float = 0.0
    #: Mean time between failures of the job, where no hazards are named.
    mean_between: str = ""
    restart: str = "0s"
    #: Work between checkpoints, or `daly`; how long training waits for one.
    interval: str = "daly"
    write: str = "0s"
    way: Way = "requeue"
    #: Chips of the site a job is placed on, and whether its lemons were replaced.
    site: int = 0
    cured: bool = False

    def seconds(self, name: str) -> float:
        """A span field in seconds."""
        return units.seconds(units.span_ns(getattr(self, name)))

    def interval_s(self, mean_s: float) -> float:
        """Work between checkpoints."""
        if self.interval == "daly":
            return goodput.young_daly(self.seconds("write"), mean_s)
        return self.seconds("interval")

    def met(self, value: float) -> bool:
        """Whether a value is within the tolerance of the published one."""
        if self.tolerance == "at least":
            return value >= self.published
        number = float(self.tolerance.removesuffix("%"))
        allowed = number / 100 * self.published if self.tolerance.endswith("%") else number
        return abs(value - self.published) <= allowed


class Ours(NamedTuple):
    """What is computed for a figure without a twin; None where a way does not apply."""

    closed: float | None = None
    #: To first order in the losses, and by how much it may be off.
    first_order: float | None = None
    error: float | None = None
    monte_carlo: float | None = None
    #: 95 % interval of the Monte Carlo.
    low: float | None = None
    high: float | None = None


class Row(NamedTuple):
    """One line of the table."""

    figure: Figure
    ours: Ours
    twin: float | None

    @property
    def best(self) -> float | None:
        """The value that is judged: the twin's, else the Monte Carlo's, else the closed form's."""
        found = (self.twin, self.ours.monte_carlo, self.ours.closed)
        return next((value for value in found if value is not None), None)

    @property
    def ratio(self) -> float | None:
        """Ours over the published value."""
        return self.best / self.figure.published if self.best is not None else None

    @property
    def verdict(self) -> str:
        """met, missed, or open where nothing is computed."""
        if self.best is None:
            return "open"
        return "met" if self.figure.met(self.best) else "missed"

    @property
    def holds(self) -> bool | None:
        """Whether the first order is good enough here; None where there is none."""
        return None if self.ours.error is None else self.ours.error <= HOLDS

    def tree(self) -> dict[str, object]:
        """For programs."""
        figure = self.figure
        told = {name: getattr(figure, name) for name in ("id", "what", "unit", "published")}
        more = {name: getattr(figure, name) for name in ("tolerance", "basis", "mark", "source", "note")}
        values = {"twin": self.twin, "ratio": self.ratio, "verdict": self.verdict, "holds": self.holds}
        return {**told, **self.ours._asdict(), **values, **more}


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    figures: tuple[Figure, ...]


#: What a twin says of a figure; None: it does not run that one.
Twin = Callable[[Figure], float | None]
Model = Callable[[Figure, "Parts", Stream, bool], Ours]


def shipped() -> tuple[Figure, ...]:
    """The published figures that come with Myriad."""
    name = "data/reliability.yaml"
    text = resources.files("myriad.studies").joinpath(name).read_text(encoding="utf-8")
    return documents.convert(next(documents.documents(text, name)), _File, name).figures


class Parts:
    """The hazards that figures name, from a folder of `faults-<name>.yaml`."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or _nearest()
        self._read: dict[str, Faults] = {}

    def faults(self, name: str) -> Faults:
        """One part. Raises UserError when it is not there or does not hold."""
        if name not in self._read:
            path = self.folder / f"faults-{name}.yaml"
            if not path.is_file():
                known = [one.stem.removeprefix("faults-") for one in self.folder.glob("faults-*.yaml")]
                raise UserError(
                    "is no part of this folder", field="part", value=name, remedy=near(name, known)
                )
            tree = next(documents.documents(documents.read(path), path.name))
            self._read[name] = documents.convert(tree, Faults, path.name)
        return self._read[name]


def _nearest() -> Path:
    """`scenarios/parts` of the working directory or one above it, else of the repository of this module."""
    starts = (Path.cwd(), Path(__file__).resolve())
    folders = (above / "scenarios" / "parts" for start in starts for above in (start, *start.parents))
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        remedy = "Name the folder with faults-llama3.yaml and the like: --parts FOLDER"
        raise UserError("shipped parts of scenarios were not found", field="parts", remedy=remedy)
    return found


def judge(
    figures: Iterable[Figure],
    models: Mapping[str, Model],
    parts: Parts,
    *,
    seed: int = 1,
    quick: bool = False,
    twin: Twin | None = None,
) -> list[Row]:
    """Every figure with ours beside it. `quick`: fewer runs, wider intervals."""
    rows = []
    for figure in figures:
        ours = models[figure.kind](figure, parts, Stream(seed, figure.id), quick)
        rows.append(Row(figure, ours, twin(figure) if twin else None))
    return rows
