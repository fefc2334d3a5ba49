"""What cannot be is said before anything runs, with the field and a remedy."""

from typing import Any

import pytest

from myriad.control.core import Core
from myriad.kernel.errors import UserError
from myriad.kernel.rng import Stream
from myriad.kernel.units import DAY
from myriad.protocol import facts, inputs
from tests.twin.workload.shop import site, tree, workload


def _class(**more: Any) -> dict[str, Any]:
    return {"classes": [tree()["classes"][0] | more]}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"jobs_per_day": -1.0}, "jobs_per_day -1.0 must be 0 or more"),
        ({"jobs_per_day": 0.0}, "give exactly one of jobs_per_day, target_utilisation and backlog"),
        ({"target_utilisation": 0.5}, "exactly one of"),
        ({"classes": []}, "one or more"),
        (_class(sizes={}), "sizes needs one size or more"),
        (_class(sizes={-1: 1.0}), "above 0 chips"),
        (_class(share=-0.1), "share -0.1 must be 0 or more"),
        (_class(batch=0.5), "batch must be between 1 and 1000"),
        (_class(elastic=1.5), "elastic must be at most 1"),
        (_class(priorities={"urgent": 1.0}), "urgent"),
        (_class(succeeded={"share": 0.5, "lasts": []}), "lasts needs one part or more"),
        (_class(succeeded={"share": 0.5, "lasts": [{"median": "5", "sigma": 1.0}]}), "has no unit"),
        (_class(succeeded={"share": 0.5, "lasts": [{"median": "5m", "sigma": -1.0}]}), "sigma -1.0"),
        (_class(durations={}), "is not a known field"),
        ({"rhythm": {"hours": [1.0]}}, "hours needs 24 weights"),
        ({"estimates": {"bias": 0.0}}, "bias must be above 0"),
        ({"tenants": [{"name": "A Name"}]}, "lower-case"),
        ({"backlog": {"jobs": 0}, "jobs_per_day": 0.0}, "jobs must be 1 or more"),
    ],
)
def test_files_are_checked(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words.replace(".", r"\.")):
        workload(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "workload.classes.pretrain.sizes: is more than the 8 nodes of 4 h100-sxm"),
        ({"tenants": [{"name": "a"}]}, "no tenant submits"),
        ({"tenants": [{"name": "a", "jobs": 1.0}, {"name": "a"}]}, "two tenants"),
        ({"tenants": [{"name": "a", "jobs": 1.0, "parent": "b"}]}, "is not a tenant above"),
        ({"tenants": [{"name": "a", "jobs": 1.0, "classes": {"pretran": 0}}]}, "Did you mean pretrain"),
        (
            {
                "tenants": [
                    {"name": "a", "quota": 0.5},
                    {"name": "b", "parent": "a", "quota": 0.6, "jobs": 1.0},
                ]
            },
            "0.6 of the site is given",
        ),
    ],
)
def test_sites_and_tenants_are_checked_before_the_first_job(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as raised:
        workload(**given).arrivals(site(8, chips_per_node=4), Stream(1), DAY)
    assert words in str(raised.value)
    assert raised.value.remedy or "two tenants" in words


def test_a_tenant_that_may_never_hold_what_it_submits_is_refused() -> None:
    tenants = [{"name": "a", "quota": 0.05, "borrow": 0.0, "jobs": 1.0}]
    with pytest.raises(UserError, match="may never hold the 64 chips of a pretrain"):
        workload(tenants=tenants).arrivals(site(64), Stream(1), DAY)
    spared = [tenants[0] | {"classes": {"pretrain": 0.0}}, {"name": "b", "jobs": 1.0}]
    assert list(workload(tenants=spared).arrivals(site(64), Stream(1), DAY))


def test_a_chip_type_that_the_site_has_not() -> None:
    with pytest.raises(UserError, match=r"classes\.evaluation\.chip"):
        workload(**_class(chip="gb200")).arrivals(site(64), Stream(1), DAY)


def test_the_brain_takes_the_tenants_as_they_come() -> None:
    shares = [
        {"name": "a", "quota": 0.29, "borrow": 0.5},
        {"name": "b", "parent": "a", "quota": 0.14, "jobs": 1.0, "users": 7},
        {"name": "c", "parent": "a", "quota": 0.15, "jobs": 1.0},
    ]
    core = Core()
    core.step(inputs.OpenSite(at=0, site=site(1000 // 8 * 8)))
    tenants = workload(tenants=shares).tenants(site(1000 // 8 * 8))
    assert [tenant.name for tenant in tenants[:3]] == ["a", "b", "b-u1"]
    for tenant in tenants:
        happened = core.step(inputs.ApplyTenant(at=0, tenant=tenant)).facts
        assert not any(isinstance(fact, facts.Refused) for fact in happened), happened
