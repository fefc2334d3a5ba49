"""Reads the files people give to `submit`, `serve` and `tenant apply`, and points at the right command."""

from pathlib import Path
from typing import TypeVar

import click

from myriad.kernel import documents
from myriad.kernel.errors import UserError
from myriad.workload import files
from myriad.workload.jobs import TrainingJob
from myriad.workload.services import InferenceService
from myriad.workload.tenants import Tenant

S = TypeVar("S", TrainingJob, InferenceService, Tenant)

_COMMANDS = {TrainingJob: "submit", InferenceService: "serve", Tenant: "tenant apply"}
_KINDS = {TrainingJob: "training", InferenceService: "service", Tenant: "tenant"}

#: The argument of every command that takes a file. Whether it exists is said by `read`, alike for all.
file_argument = click.argument("file", type=click.Path(path_type=Path))


def read(file: Path, type_: type[S]) -> list[S]:
    """Every spec of the file; all must be of that type. Raises UserError."""
    found: list[S] = []
    for spec in files.parse(documents.read(file), str(file)):
        if not isinstance(spec, type_):
            raise UserError(
                f"`myriad {_COMMANDS[type_]}` takes files of kind {_KINDS[type_]}",
                field=f"{file}: kind",
                value=_KINDS[type(spec)],
                remedy=f"Use: myriad {_COMMANDS[type(spec)]} {file}",
            )
        found.append(spec)
    return found
