"""The inference service file: a model, an engine, replicas and the service level it should keep."""

from typing import Literal

import msgspec

from myriad.kernel import units
from myriad.kernel.ids import TenantId
from myriad.workload.jobs import PRIORITIES, Priority, check_name

ServingEngine = Literal["transformers", "vllm", "sglang"]


class ModelSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the weights come from: a finished training job of this tenant, or a folder."""

    #: Name or id of a training job; the newest that succeeded.
    job: str = ""
    #: A Hugging Face model folder that every node can read.
    path: str = ""

    def __post_init__(self) -> None:
        if bool(self.job) == bool(self.path):
            raise ValueError("give exactly one of job and path")


class Replicas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many copies; `min: 0` lets an idle service give its chips back."""

    min: int = 1
    max: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.max or self.max < 1:
            raise ValueError("needs 0 <= min <= max and max >= 1")


class ServiceLevel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time to first token and time per output token that the service should keep."""

    ttft: str = "2s"
    tpot: str = "200ms"
    #: Within this a replica that load calls for gets back chips that were lent to training.
    scale_up: str = "60s"

    def __post_init__(self) -> None:
        for name in ("ttft", "tpot", "scale_up"):
            units.check_span(name, getattr(self, name))


class InferenceService(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
    tag="service",
):
    """A model that clients call by `name` through the gateway."""

    name: str
    tenant: TenantId
    model: ModelSource
    engine: ServingEngine = "transformers"
    replicas: Replicas = Replicas()
    chips_per_replica: int = 1
    priority: Priority = "high"
    slo: ServiceLevel = ServiceLevel()
    #: Requests one replica serves at once before another replica is wanted.
    concurrency: int = 8
    #: Who may call it: only its own tenant, or every tenant of the site.
    shared: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        check_name(self.tenant)
        if self.chips_per_replica < 1 or self.concurrency < 1:
            raise ValueError("chips_per_replica and concurrency must be 1 or more")

    @property
    def rank(self) -> int:
        """Its priority as a number; larger goes first."""
        return PRIORITIES[self.priority]
