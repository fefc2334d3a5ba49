"""`python -m myriad.server`: one process, from its arguments to its exit code.

SIGTERM and SIGINT stop the control plane alone: what runs goes on and is adopted at the next start.
Exit codes: 0 stopped as asked, 1 the journal or a law broke, 2 something to mend before starting, 3 another
control plane leads now.
"""

import argparse
import asyncio
import ipaddress
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from importlib import metadata, resources
from pathlib import Path
from typing import NamedTuple

import uvloop
from aiohttp import web

from myriad.control import policyfile, sitefile
from myriad.control.sitefile import Setup
from myriad.engines.common import layout
from myriad.engines.local import LocalEngine
from myriad.engines.slurm import config as slurm
from myriad.engines.slurm.engine import SlurmEngine
from myriad.engines.slurm.users import homes, users
from myriad.gateway.app import Gateway
from myriad.kernel.errors import UserError
from myriad.kernel.ports import Journal
from myriad.server import api, collector, log, ownership
from myriad.server.gateway import Directory, Sink
from myriad.server.home import Context, Home
from myriad.server.notify import Manager, Pulse
from myriad.server.paced import PacedEngine
from myriad.server.plane import Body, Plane
from myriad.server.standby import Standby
from myriad.server.wheel import BrokenLaw
from myriad.store.postgres.connection import is_url, shown
from myriad.store.postgres.journal import PostgresJournal
from myriad.store.postgres.seat import Deposed, Seat
from myriad.store.sqlite import SqliteJournal
from myriad.twin.world import World

#: How long requests in progress may go on when the server stops.
_LINGER_S = 2.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; returns the exit code."""
    options = _parsed(argv)
    log.use(options.log_format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(options))
    except UserError as error:
        log.error("refused", str(error), field=error.field)
        return 3 if isinstance(error, Deposed) else 2


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m myriad.server", description="The control plane.")
    home = os.environ.get("MYRIAD_HOME") or "~/.myriad"
    parser.add_argument("--home", default=home, help="folder of the journal and all results (%(default)s)")
    parser.add_argument("--site", default="", help="site file; site.yaml of the home, else this machine")
    parser.add_argument(
        "--policy", default="", help="policy file or name; policy.yaml of the home, else the site file's"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to bind (%(default)s: this machine alone)"
    )
    parser.add_argument("--port", type=int, default=7700, help="of the REST API; 0: any (%(default)s)")
    parser.add_argument("--gateway-port", type=int, default=7701, help="0: any (%(default)s)")
    parser.add_argument(
        "--journal",
        default="",
        help="postgresql://user@host:port/database, or a file; as at the last start, or in the home",
    )
    parser.add_argument(
        "--standby", action="store_true", help="follow another control plane, and take over when it fails"
    )
    parser.add_argument(
        "--data",
        default="",
        help="folder that all nodes share, and leader and standby; as at the last start, or the home",
    )
    parser.add_argument("--engine", choices=("local", "slurm", "memory"), default="local", help="%(default)s")
    parser.add_argument(
        "--preload",
        action=argparse.BooleanOptionalAction,
        default=os.environ.get("MYRIAD_PRELOAD", "1") != "0",
        help="import torch once for all nodes of the local engine (default: MYRIAD_PRELOAD, or yes)",
    )
    parser.add_argument(
        "--log-format",
        choices=log.FORMS,
        default=os.environ.get("MYRIAD_LOG_FORMAT") or "text",
        help="of what goes to stderr, one event a line (MYRIAD_LOG_FORMAT, or %(default)s)",
    )
    return parser.parse_args(argv)


async def _serve(options: argparse.Namespace) -> int:
    """Start in the order that lets nothing be promised before it can be kept; then wait for the end."""
    home, manager = _home(options), Manager()
    async with AsyncExitStack() as stack:
        home.hold()
        stack.callback(home.release)
        setup = _setup(options.site, options.policy, home)
        _check_engine(options.engine, setup, home)
        # before anything is written: a port in use must leave no trace
        doors = _Doors(
            _listen("API address", "--port", options.host, options.port),
            _listen("gateway address", "--gateway-port", options.host, options.gateway_port),
        )
        for door in doors:
            stack.callback(door.close)
        journal, seat = _journal(options, home)
        plane = Plane(home, setup, journal, Pulse(manager))
        stack.push_async_callback(plane.stop)
        # one pulse for standing by, taking over and leading: a watchdog hears it without a pause
        stack.callback(asyncio.create_task(plane.pulse.beat()).cancel)
        if options.engine != "memory":
            await _check_owner(plane, standby=options.standby)
        if seat and options.standby:
            if not await _stand_by(plane, seat, doors, options, manager):
                return 0
        elif seat:
            await asyncio.to_thread(seat.take)
        return await _lead(stack, plane, seat, doors, options, manager)


def _tell_start(plane: Plane, journal: str) -> None:
    setup, version = plane.setup, metadata.version("myriad")
    name = setup.site.name
    term = f", term {plane.term}" if plane.term else ""
    log.info(
        "start",
        f"{name} is open: REST {plane.api_url}, gateway {plane.gateway_url}, policy {setup.policy_source}, "
        f"version {version}, journal {journal} at {plane.wheel.seq}{term}",
        version=version,
        site=name,
        chips=setup.site.chip_count,
        journal=journal,
        term=plane.term,
        seq=plane.wheel.seq,
        policy=setup.policy_source,
        api_url=plane.api_url,
        gateway_url=plane.gateway_url,
    )


async def _stand_by(
    plane: Plane, seat: Seat, doors: "_Doors", options: argparse.Namespace, manager: Manager
) -> bool:
    """Wait until it leads; False when there is nothing more to wait for."""
    known = plane.home.context()
    plane.home.write_context(_context(options, plane.home, doors, known.key if known else ""))
    log.info("standby", f"stands by: REST {_url(doors.api)}")
    manager.ready("stands by")
    asked = asyncio.create_task(_signalled())
    try:
        end = await Standby(plane, seat, lambda text: log.info("standby", text)).wait(doors, asked)
    finally:
        asked.cancel()
        _stop_as_usual()
    if end != "leads":
        log.info("stop", "stops standing by" if end == "stopped" else "the site was closed by its leader")
    return end == "leads"


async def _lead(
    stack: AsyncExitStack,
    plane: Plane,
    seat: Seat | None,
    doors: "_Doors",
    options: argparse.Namespace,
    manager: Manager,
) -> int:
    await plane.fold()
    plane.names.reserve(await asyncio.to_thread(layout.owners, plane.home.data))
    collector.spare_what_is_held()
    plane.begin(seat.may_act if seat else _always)
    if seat:
        _hold(plane, seat)
    sink = Sink(plane)
    stack.push_async_callback(sink.close)
    gateway = Gateway(Directory(plane), sink, plane.wheel.now, policy=plane.setup.policy.route)
    await gateway.start(options.host, options.gateway_port, doors.gateway)
    plane.gateway = gateway
    stack.push_async_callback(gateway.close)
    await plane.open()
    if options.engine != "memory":
        await _take_folder(plane, options)
    await _serve_api(stack, plane, doors.api)
    context = _context(options, plane.home, doors)
    await plane.tell_where(context)
    if seat:
        await asyncio.to_thread(seat.tell, context.api_url, context.gateway_url)
    _tell_start(plane, shown(options.journal) if options.journal else str(plane.home.journal))
    await plane.connect(_body(options, plane, seat))
    manager.ready(f"{plane.setup.site.name} is open at {plane.api_url}")
    code = await _until_the_end(plane)
    manager.stopping()
    return code


async def _check_owner(plane: Plane, *, standby: bool) -> None:
    """Before anything is written. Raises UserError when the data folder is of another journal."""
    known = await plane.reading(lambda: ownership.identity(plane.journal))
    if known or not standby:  # what a standby follows may be about to begin
        await asyncio.to_thread(ownership.check, plane.home.data, known)


async def _take_folder(plane: Plane, options: argparse.Namespace) -> None:
    place = shown(options.journal) if is_url(options.journal) else options.journal or str(plane.home.journal)
    owner = ownership.Owner(
        journal=await plane.reading(lambda: ownership.identity(plane.journal)),
        site=plane.setup.site.name,
        place=ownership.here(place),
    )
    await asyncio.to_thread(ownership.take, plane.home.data, owner)


def _hold(plane: Plane, seat: Seat) -> None:
    """What the seat says, the wheel hears: orders that were held back may go, or all is over."""
    loop = asyncio.get_running_loop()
    plane.term = seat.term
    seat.on_renewed = lambda: loop.call_soon_threadsafe(plane.wheel.resume)
    seat.on_lost = lambda error: loop.call_soon_threadsafe(plane.wheel.fail, error)


async def _serve_api(stack: AsyncExitStack, plane: Plane, listener: socket.socket) -> None:
    host = listener.getsockname()[0]
    app = api.application(plane, metrics_open=_is_loopback(host))
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_LINGER_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    # streams that go on for ever end first, so that cleanup need not wait for them
    stack.callback(plane.events.close)
    await web.SockSite(runner, listener).start()


async def _until_the_end(plane: Plane) -> int:
    asked = asyncio.create_task(_signalled())
    ended = asyncio.create_task(plane.ended())
    await asyncio.wait([asked, ended], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not ended.done():
        log.info(
            "stop", f"stops on {asked.result().name}; what runs goes on and is adopted at the next start"
        )
        ended.cancel()
        return 0
    try:
        await ended
    except (UserError, BrokenLaw) as error:
        log.error("broken", f"cannot go on: {error}")
        # what was refused because of this is told to those who asked before the process ends
        await asyncio.sleep(_LINGER_S / 4)
        return 3 if isinstance(error, Deposed) else 1
    log.info("stop", "the site is closed: nodes and control plane end")
    return 0


async def _signalled() -> signal.Signals:
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[signal.Signals] = loop.create_future()

    def hear(number: signal.Signals) -> None:
        if not heard.done():
            heard.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, hear, number)
    return await heard


def _stop_as_usual() -> None:
    """Signals end the process again: while it starts, and nothing is promised yet."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


def _home(options: argparse.Namespace) -> Home:
    """The home; what of its journal and shared folder is not said now is as at the last start."""
    home = Home(Path(options.home).expanduser())
    if known := home.context():
        options.journal = options.journal or known.journal
        options.data = options.data or known.data
    if options.journal and not is_url(options.journal):
        options.journal = str(Path(options.journal).expanduser().absolute())
    if options.data:
        home.data = Path(options.data).expanduser().absolute()
    return home


def _setup(site: str, policy: str, home: Home) -> Setup:
    """The site, under the policy asked for, of the home, or its own."""
    if site or home.site_file.exists():
        setup = sitefile.read(Path(site or home.site_file))
    else:
        setup = sitefile.parse(_laptop(), "laptop.yaml")
    if policy or home.policy_file.exists():
        return setup.under(policyfile.choose(policy or str(home.policy_file)))
    return setup


def _laptop() -> str:
    """The text of the site that ships with Myriad: this machine."""
    return resources.files("myriad.server").joinpath("laptop.yaml").read_text(encoding="utf-8")


def _journal(options: argparse.Namespace, home: Home) -> tuple[Journal, Seat | None]:
    location = options.journal or str(home.journal)
    if is_url(location):
        seat = Seat(location)
        return PostgresJournal(location, seat), seat
    if options.standby:
        raise UserError(
            "needs a journal that two control planes can share",
            field="--standby",
            remedy="Give --journal postgresql://user@host:port/database to both",
        )
    return SqliteJournal(Path(location)), None


def _body(options: argparse.Namespace, plane: Plane, seat: Seat | None) -> Body:
    may_act = seat.may_act if seat else _always
    if options.engine == "memory":
        return PacedEngine(World(plane.setup.site))
    if options.engine == "slurm":
        config = slurm.read(plane.setup.slurm, "site")
        return SlurmEngine(plane.home.data, plane.setup.site, plane.wheel.now, config, may_act=may_act)
    return LocalEngine(plane.home.data, plane.setup.site, plane.wheel.now, options.preload, may_act=may_act)


def _check_engine(engine: str, setup: Setup, home: Home) -> None:
    """Raises UserError at a section `slurm` that means nothing, or names users that gangs cannot run as."""
    config = slurm.read(setup.slurm, "site")
    if engine == "slurm" and config.users:
        users.check(config)
        _check_apart(home)
        homes.prepare(home.data, config, users.named(config))
    if setup.slurm and engine != "slurm":
        log.warning("no-effect", f"the site's section slurm has no effect with --engine {engine}")


def _check_apart(home: Home) -> None:
    """Raises UserError when users of tenants would have to enter the home: keys and journal are in there."""
    if home.folder in (home.data, *home.data.parents):
        raise UserError(
            "is in Myriad's home, which users of tenants must not enter",
            field="data",
            value=str(home.data),
            remedy="Give a folder of its own with --data, which all nodes see",
        )


def _always() -> bool:
    return True


class _Doors(NamedTuple):
    """The sockets people come in by."""

    api: socket.socket
    gateway: socket.socket


def _context(options: argparse.Namespace, home: Home, doors: _Doors, key: str = "") -> Context:
    return Context(
        api_url=_url(doors.api),
        gateway_url=_url(doors.gateway),
        key=key,
        journal=options.journal,
        data=str(home.data) if home.data != home.folder else "",
    )


def _url(door: socket.socket) -> str:
    host, port = door.getsockname()[:2]
    return f"http://{_shown(host)}:{port}"


def _listen(field: str, option: str, host: str, port: int) -> socket.socket:
    """A socket that listens. Raises UserError when the port is taken."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise UserError(
            reason,
            field=field,
            value=f"{host}:{port}",
            remedy=f"Give another {option} (0 takes any that is free), or end what listens there",
        ) from None


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def _shown(host: str) -> str:
    """An address clients of this machine can use."""
    if ipaddress.ip_address(host).is_unspecified:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
