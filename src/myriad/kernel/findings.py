"""What a check of a machine found: for `myriad doctor`, from whoever knows how to look."""

from typing import Literal

import msgspec

Result = Literal["ok", "warn", "fail", "skip"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the doctor's table. What is not ok names its remedy."""

    check: str
    result: Result
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        assert self.remedy or self.result in ("ok", "skip"), self


def ok(check: str, found: str) -> Finding:
    """As it should be."""
    return Finding(check=check, result="ok", found=found)


def skip(check: str, found: str) -> Finding:
    """Not looked at, and why."""
    return Finding(check=check, result="skip", found=found)


def warn(check: str, found: str, remedy: str) -> Finding:
    """It works, not well."""
    return Finding(check=check, result="warn", found=found, remedy=remedy)


def fail(check: str, found: str, remedy: str) -> Finding:
    """It does not work, or is not safe."""
    return Finding(check=check, result="fail", found=found, remedy=remedy)
