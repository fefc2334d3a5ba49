"""Checks of the machine itself: Python, packages, limits, accelerators."""

import importlib
import importlib.util
import platform
import re
import resource
from importlib import metadata
from typing import Any, Final

from myriad.kernel.findings import Finding, fail, ok, warn

#: Below this many files a gateway runs out of connections under load.
_FILES_MIN: Final = 256
_FILES: Final = 4096
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:(>=|==)\s*([0-9][0-9.]*))?")


def python() -> Finding:
    """The interpreter."""
    wanted = (metadata.metadata("myriad")["Requires-Python"] or ">=3.11").removeprefix(">=")
    found = platform.python_version()
    if _number(found) < _number(wanted):
        return fail("python", found, f"Install Python {wanted} or newer, and Myriad with it")
    return ok("python", f"{found} ({platform.machine()}, {platform.system()} {platform.release()})")


def packages(required: list[str] | None = None) -> Finding:
    """What `pip install myriad` brings, as it is here."""
    wrong = []
    named = metadata.requires("myriad") or [] if required is None else required
    needed = [line for line in named if "extra ==" not in line]
    for line in needed:
        match = _REQUIREMENT.match(line)
        assert match, line
        name, operator, wanted = match.groups()
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        have, want = _number(found), _number(wanted or "0")
        if (operator == ">=" and have < want) or (operator == "==" and have[: len(want)] != want):
            wrong.append(f"{name} is {found}, {operator}{wanted} is needed")
    if wrong:
        return fail("packages", "; ".join(wrong), "pip install --upgrade myriad, in the same environment")
    return ok("packages", f"myriad {metadata.version('myriad')}, {len(needed)} packages as needed")


def limits(soft: int | None = None) -> Finding:
    """Open files."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if soft is None else soft
    remedy = f"Raise it to {_FILES} or more: LimitNOFILE of the unit, or ulimit -n before myriad up"
    if 0 <= most < _FILES_MIN:
        return fail("open files", f"at most {most}", remedy)
    if 0 <= most < _FILES:
        return warn("open files", f"at most {most}: each stream of the gateway takes two", remedy)
    return ok("open files", "no limit" if most < 0 else f"at most {most}")


def device() -> Finding:
    """What torch finds here. Nodes elsewhere are qualified when they join."""
    if importlib.util.find_spec("torch") is None:
        remedy = "pip install 'myriad[train]' where jobs with recipes are to run; commands need nothing"
        return warn("accelerator", "torch is not installed: recipes cannot run here", remedy)
    try:
        torch: Any = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return fail(
            "accelerator", f"torch cannot be imported: {error}", "Install torch again: pip install torch"
        )
    kind = torch.accelerator.current_accelerator() if hasattr(torch, "accelerator") else None
    if kind is None:
        return ok("accelerator", f"torch {torch.__version__} finds none: jobs run on the CPU")
    return ok(
        "accelerator", f"torch {torch.__version__} finds {torch.accelerator.device_count()} x {kind.type}"
    )


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])
