"""When a replica counts as ready, and when no longer."""

import asyncio
from pathlib import Path

from myriad.kernel.ids import AttemptId, ServiceId
from myriad.protocol import inputs, orders
from myriad.protocol.values import Member
from tests.contract import suite
from tests.engines.local_site import N0, small_site

REPLICA = AttemptId("chat.1")

_SERVER = """
import http.server, os, pathlib
ill = pathlib.Path("ill")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if ill.exists() or self.path != "/health" else 200)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["MYRIAD_SERVICE_PORT"])), Handler).serve_forever()
"""


def _serve() -> orders.StartGang:
    return orders.StartGang(
        attempt=REPLICA,
        service=ServiceId("chat"),
        members=(Member(node=N0, chips=1),),
        launch=orders.Launch(command=("python", "-S", "-c", _SERVER), per_node=True),
    )


def test_a_replica_is_ready_while_it_answers(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (_, watcher):
            watcher.engine.obey(_serve())
            ready = await watcher.next(inputs.ReplicaReady, attempt=REPLICA)
            assert ready.url.startswith("http://127.0.0.1:")
            ill = tmp_path / "services/chat/output/ill"
            ill.touch()
            # before it was ready it was said to be unready too, if that took long
            while "503" not in (await watcher.next(inputs.ReplicaUnready, attempt=REPLICA)).detail:
                pass
            ill.unlink()
            assert (await watcher.next(inputs.ReplicaReady, attempt=REPLICA)).url == ready.url

    asyncio.run(run())


def test_a_new_control_plane_finds_the_replica_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with small_site(tmp_path) as (driver, before):
            before.engine.obey(_serve())
            ready = await before.next(inputs.ReplicaReady, attempt=REPLICA)
            await before.engine.close()
            after = await suite.opened(driver)
            assert (await after.next(inputs.ReplicaReady, attempt=REPLICA)).url == ready.url
            await after.engine.close()
            (tmp_path / "services/chat/output/ill").touch()  # while nobody looks
            after = await suite.opened(driver)
            assert "503" in (await after.next(inputs.ReplicaUnready, attempt=REPLICA)).detail
            after.engine.obey(_serve())  # not on record as started: the order comes again
            after.engine.obey(orders.StopGang(attempt=REPLICA, members=_serve().members))
            await after.next(inputs.MemberGone, attempt=REPLICA)
            assert not after.all(inputs.ReplicaReady)
            await after.engine.close()

    asyncio.run(run())
