"""`python -m myriad.server`: one process, from its arguments to its exit code.

SIGTERM and SIGINT stop the control plane alone: what runs goes on and is adopted at the next start.
Exit codes: 0 stopped as asked, 1 the journal or a law broke, 2 something to mend before starting.
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

import uvloop
from aiohttp import web

from myriad.control import policyfile, sitefile
from myriad.control.sitefile import Setup
from myriad.engines.local import LocalEngine
from myriad.gateway.app import Gateway
from myriad.kernel.errors import UserError
from myriad.server import api, log
from myriad.server.gateway import Directory, Sink
from myriad.server.home import Home
from myriad.server.notify import Manager, Pulse
from myriad.server.paced import PacedEngine
from myriad.server.plane import Body, Plane
from myriad.server.wheel import BrokenLaw
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
        return 2


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
    parser.add_argument("--engine", choices=("local", "memory"), default="local", help="%(default)s")
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
    home, manager = Home(Path(options.home).expanduser()), Manager()
    async with AsyncExitStack() as stack:
        home.hold()
        stack.callback(home.release)
        setup = _setup(options.site, options.policy, home)
        # before anything is written: a port in use must leave no trace
        listener = _listen(options.host, options.port)
        stack.callback(listener.close)
        plane = Plane(home, setup, SqliteJournal(home.journal), Pulse(manager))
        stack.push_async_callback(plane.stop)
        sink = Sink(plane)
        stack.push_async_callback(sink.close)
        gateway = Gateway(Directory(plane), sink, plane.wheel.now, policy=setup.policy.route)
        gateway_url = await gateway.start(options.host, options.gateway_port)
        plane.gateway = gateway
        stack.push_async_callback(gateway.close)
        await plane.open()
        api_url = await _serve_api(stack, plane, listener)
        await plane.tell_where(api_url, gateway_url)
        _tell_start(plane, setup)
        await plane.connect(_body(options, plane))
        manager.ready(f"{setup.site.name} is open at {api_url}")
        pulse = asyncio.create_task(plane.pulse.beat())
        stack.callback(pulse.cancel)
        code = await _until_the_end(plane)
        manager.stopping()
        return code


def _tell_start(plane: Plane, setup: Setup) -> None:
    name, version = setup.site.name, metadata.version("myriad")
    log.info(
        "start",
        f"{name} is open: REST {plane.api_url}, gateway {plane.gateway_url}, policy {setup.policy_source}, "
        f"version {version}, journal {plane.home.journal} at {plane.wheel.seq}",
        version=version,
        site=name,
        chips=setup.site.chip_count,
        journal=str(plane.home.journal),
        seq=plane.wheel.seq,
        policy=setup.policy_source,
        api_url=plane.api_url,
        gateway_url=plane.gateway_url,
    )


async def _serve_api(stack: AsyncExitStack, plane: Plane, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    app = api.application(plane, metrics_open=_is_loopback(host))
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_LINGER_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    # streams that go on for ever end first, so that cleanup need not wait for them
    stack.callback(plane.events.close)
    await web.SockSite(runner, listener).start()
    return f"http://{_shown(host)}:{port}"


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
        return 1
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


def _body(options: argparse.Namespace, plane: Plane) -> Body:
    if options.engine == "memory":
        return PacedEngine(World(plane.setup.site))
    return LocalEngine(plane.home.folder, plane.setup.site, plane.wheel.now, options.preload)


def _listen(host: str, port: int) -> socket.socket:
    """The socket of the API. Raises UserError when the port is taken."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise UserError(
            reason,
            field="API address",
            value=f"{host}:{port}",
            remedy="Give another --port (0 takes any that is free), or end what listens there",
        ) from None


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def _shown(host: str) -> str:
    """An address clients of this machine can use."""
    if ipaddress.ip_address(host).is_unspecified:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
