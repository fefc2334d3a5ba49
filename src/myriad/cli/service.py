"""`myriad serve`, `services`, `unserve`: models that clients call through the gateway."""

from collections import Counter
from pathlib import Path

import click

from myriad.cli import show, specs
from myriad.cli.context import Context, given
from myriad.control.views import ServiceView
from myriad.workload.services import InferenceService


@click.command()
@specs.file_argument
@show.as_json
@given
def serve(context: Context, file: Path, as_json: bool) -> None:
    """Serve a model as FILE says.

    Serving the same name again changes the service.

    \b
    Example:
      myriad serve examples/service.yaml
    """
    wanted = specs.read(file, InferenceService)
    with context.client() as client:
        made = [client.serve(spec) for spec in wanted]
    if as_json:
        show.dump(made)
        return
    for service in made:
        click.echo(f"{service.name}: {service.wanted} replicas wanted, model {service.model_path}")
        click.echo(f'  {service.why or "starting"}; when ready: myriad chat {service.name} "Hello"')


@click.command()
@show.as_json
@given
def services(context: Context, as_json: bool) -> None:
    """List services and their replicas.

    \b
    Example:
      myriad services
    """
    with context.client() as client:
        found = client.services()
    if as_json:
        show.dump(found)
        return
    show.table(
        ("SERVICE", "TENANT", "ENGINE", ">READY", ">WANTED", ">MIN-MAX", "REPLICAS", "WHY"),
        (_row(service) for service in found),
        empty="No services yet. Start one: myriad serve examples/service.yaml",
    )


def _row(service: ServiceView) -> tuple[object, ...]:
    states = Counter(replica.state for replica in service.replicas)
    return (
        service.name,
        service.tenant,
        service.engine,
        service.ready,
        service.wanted,
        f"{service.min}-{service.max}",
        ", ".join(f"{replica.node} {replica.state}" for replica in service.replicas) or "-"
        if len(service.replicas) < 4
        else ", ".join(f"{count} {state}" for state, count in states.items()),
        service.why,
    )


@click.command()
@click.argument("name")
@given
def unserve(context: Context, name: str) -> None:
    """Stop the service NAME and its replicas.

    \b
    Example:
      myriad unserve tiny-coder
    """
    with context.client() as client:
        client.unserve(name)
    click.echo(f"{name} is no longer served.")
