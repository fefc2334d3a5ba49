"""Words for the service manager (systemd's sd_notify) and the pulse of the event loop that they stand on.

READY=1 when the API answers, WATCHDOG=1 from the event loop while it turns, STOPPING=1 at the end. Without
NOTIFY_SOCKET nothing is said. A disk that hangs does not stop the loop: alerts tell of it.
"""

import asyncio
import contextlib
import os
import socket
import time
from typing import Final

from myriad.kernel.histogram import Histogram

#: How often the loop's lateness is measured.
_BEAT_S: Final = 0.25
_LAGS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class Manager:
    """The service manager that started us, if one did."""

    def __init__(self) -> None:
        # taken out of the environment: what we start must not speak in our name
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        watched = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        spare = os.environ.pop("WATCHDOG_USEC", "")
        self._patience_s = int(spare) / 1e6 if self._address and watched and spare.isdigit() else 0.0

    def ready(self, text: str) -> None:
        """The API answers, or the standby follows."""
        self._say(f"READY=1\nSTATUS={text}")

    def status(self, text: str) -> None:
        """For `systemctl status`."""
        self._say(f"STATUS={text}")

    def stopping(self) -> None:
        """The end has begun."""
        self._say("STOPPING=1")

    def alive(self) -> None:
        """The event loop turns."""
        self._say("WATCHDOG=1")

    @property
    def beat_s(self) -> float:
        """How often it wants to hear that; 0: never."""
        return self._patience_s / 3

    def _say(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # a manager that went away must not end us
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.settimeout(0.1)
            line.sendto(text.encode(), address)


class Pulse:
    """Measures how late the event loop is, and tells the manager that it turns."""

    def __init__(self, manager: Manager) -> None:
        self.lag = Histogram(_LAGS_S)
        self._manager = manager

    async def beat(self) -> None:
        """Until cancelled."""
        told = time.monotonic()
        while True:
            due = time.monotonic() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            now = time.monotonic()
            self.lag.observe(max(0.0, now - due))
            if self._manager.beat_s and now - told >= self._manager.beat_s:
                self._manager.alive()
                told = now
