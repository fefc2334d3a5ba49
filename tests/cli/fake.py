"""A control plane that says what a test wants it to say: real HTTP on loopback, answers by address."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec


class Fake:
    """Answers by `METHOD /path`; what was asked is kept."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.keys: list[str] = []

    def says(self, ask: str, body: Any, status: int = 200) -> None:
        """From now on."""
        self.answers[ask] = status, msgspec.json.encode(body)

    def refuses(self, ask: str, status: int, **parts: Any) -> None:
        """With a problem."""
        self.says(ask, {"title": "no", "status": status, **parts}, status)


@contextmanager
def serving() -> Iterator[Fake]:
    """A fake that listens."""
    fake = Fake()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            ask = f"{self.command} {self.path.partition('?')[0]}"
            text = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            fake.asked.append((f"{self.command} {self.path}", json.loads(text) if text else None))
            fake.keys.append(self.headers.get("Authorization", "").removeprefix("Bearer "))
            status, body = fake.answers.get(ask, (404, b'{"title": "nothing here"}'))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _answer

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
