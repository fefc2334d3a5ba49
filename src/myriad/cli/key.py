"""`myriad key`: further keys of tenants, and the end of keys."""

import click

from myriad.cli import show
from myriad.cli.context import Context, given


@click.group()
def key() -> None:
    """Issue and revoke keys.

    \b
    Example:
      myriad key issue acme
    """


@key.command()
@click.argument("tenant")
@show.as_json
@given
def issue(context: Context, tenant: str, as_json: bool) -> None:
    """Make a further key for TENANT.

    It is shown once; the control plane keeps only its hash.

    \b
    Example:
      myriad key issue acme
    """
    with context.client() as client:
        made = client.issue_key(tenant)
    context.keep_keys({tenant: made.key})
    if as_json:
        show.dump(made)
        return
    click.echo(f"key {made.key}")
    click.echo(f"id {made.key_id}; shown this once; on this machine `myriad --as {tenant}` uses it")


@key.command()
@click.argument("key_id")
@given
def revoke(context: Context, key_id: str) -> None:
    """End the key with this id.

    Whoever uses it is refused from now on.

    \b
    Example:
      myriad key revoke k-3f9c01
    """
    with context.client() as client:
        client.revoke_key(key_id)
    click.echo(f"key {key_id} is revoked.")
