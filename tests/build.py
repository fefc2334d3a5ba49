"""Small builders that tests share: sites, tenants, jobs, services with all that is not at issue filled in."""

from typing import Any

from myriad.fleet.site import Pod, Site
from myriad.kernel.ids import TenantId
from myriad.workload.jobs import TrainingJob
from myriad.workload.services import InferenceService, ModelSource, Replicas
from myriad.workload.tenants import Quota, Tenant


def site(racks: int = 2, nodes_per_rack: int = 3, *, spares: int = 1, chips: int = 1, pods: int = 1) -> Site:
    """A site of a few racks."""
    return Site(
        name="test",
        chip="local-cpu",
        pods=tuple(Pod(name=f"p{k}", racks=racks, nodes_per_rack=nodes_per_rack) for k in range(pods)),
        chips_per_node=chips,
        spares=spares,
    )


def tenant(name: str = "acme", chips: int = 100, borrow: int = 0) -> Tenant:
    """A tenant with a quota."""
    return Tenant(name=TenantId(name), quota=Quota(chips=chips, borrow=borrow))


def job(nodes: int = 2, *, tenant: str = "acme", name: str = "train", **more: Any) -> TrainingJob:
    """A training job that the simulated world understands: so many steps, then done."""
    config = {"steps": 20, "checkpoint_every_steps": 5, **more.pop("config", {})}
    if "command" in more:
        config = {}
    recipe = "" if "command" in more else "pretrain"
    return TrainingJob(name=name, tenant=TenantId(tenant), nodes=nodes, recipe=recipe, config=config, **more)


def service(name: str = "chat", *, tenant: str = "acme", least: int = 1, most: int = 2) -> InferenceService:
    """A service with so many replicas."""
    return InferenceService(
        name=name,
        tenant=TenantId(tenant),
        model=ModelSource(path="/models/x"),
        replicas=Replicas(min=least, max=most),
    )
