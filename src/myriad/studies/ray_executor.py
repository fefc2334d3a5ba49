"""Tasks on a Ray cluster: `pip install myriad[ray]`, here and on every node of the cluster.

The cluster is the one that RAY_ADDRESS names, or that of this machine (`ray start --head`); without any,
Ray starts one of this machine's cores for as long as the command runs. A task whose worker or node dies is
done again elsewhere by Ray; results are so small that they live with the driver and not on the nodes.
"""

import os
import socket
from collections.abc import Iterable, Iterator
from typing import Any, Final

from myriad.kernel.errors import UserError
from myriad.studies.executors import Done, Work

#: So often may the worker or the node of one task die. Estimated: a node dies a few times a year.
RETRIES: Final = 5
#: How long a cluster may take to answer. Estimated.
_KNOCK_S: Final = 5.0


class Ray:
    """The places of a Ray cluster: one for each CPU it has."""

    def __init__(self, address: str = "") -> None:
        """`address` of the cluster; else RAY_ADDRESS, a cluster on this machine, or a new one."""
        self._ray = _connected(address)

    @property
    def places(self) -> int:
        """CPUs that the cluster has now."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    @property
    def nodes(self) -> int:
        """Nodes that are alive now."""
        return sum(bool(node["Alive"]) for node in self._ray.nodes())

    def results(self, work: Work, tasks: Iterable[bytes]) -> Iterator[Done]:
        """See `executors.Executor`."""
        remote = self._ray.remote(num_cpus=1, max_retries=RETRIES)(work)
        new = enumerate(tasks)
        flying: dict[Any, int] = {}
        try:
            while True:
                while len(flying) < 2 * self.places and (found := next(new, None)):
                    flying[remote.remote(found[1])] = found[0]
                if not flying:
                    return
                landed, _ = self._ray.wait(list(flying), num_returns=1)
                for reference in landed:
                    yield Done(flying.pop(reference), self._result(reference))
        finally:
            for reference in flying:
                self._ray.cancel(reference, force=True)

    def _result(self, reference: Any) -> bytes:
        try:
            body: bytes = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, UserError) else error) from None
        except self._ray.exceptions.RayError as error:
            remedy = "Look at the nodes of the cluster with `ray status`"
            raise UserError(f"lost a task {RETRIES + 1} times: {error}", field="ray", remedy=remedy) from None
        return body


def _connected(address: str) -> Any:
    # nobody is told from here that Ray is used
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError("is not installed", field="ray", remedy="pip install 'myriad[ray]'") from None
    if ray.is_initialized():
        return ray
    options = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    try:
        _start(ray, address, options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        remedy = "Check RAY_ADDRESS and `ray status`"
        value = address or os.environ.get("RAY_ADDRESS")
        raise UserError(f"cannot be reached: {error}", field="ray", value=value, remedy=remedy) from None
    return ray


def _knock(address: str) -> None:
    """Raises ConnectionError unless somebody listens there: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return  # a word such as auto
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()
    except OSError as error:
        raise ConnectionError(f"nobody listens there ({error.strerror or error})") from None


def _start(ray: Any, address: str, options: dict[str, Any]) -> None:
    named = address or os.environ.get("RAY_ADDRESS", "")
    if named:
        _knock(named)
        ray.init(address=named, **options)
        return
    try:
        ray.init(address="auto", **options)
    except ConnectionError:
        ray.init(include_dashboard=False, **options)
