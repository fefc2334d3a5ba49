"""A gang that spans more steps no faster: by how much is the fabric's and the model's doing."""

from typing import Any

import msgspec
import pytest

from myriad.catalog.fabrics import Fabric
from myriad.catalog.shelf import Catalog
from myriad.performance import spans

CATALOG = Catalog.shipped()
HPN = CATALOG.fabric("hpn-7")


def stretch(model: str = "llama3-8b", chips: int = 64, fabric: Fabric | None = None, **given: Any) -> Any:
    batch = {"sequence": 4096, "global_batch": chips} | given
    layout: dict[str, float] = {"dp": chips, "zero": 3, "micro_batch": 1}
    return spans.of_step(CATALOG.model(model), CATALOG.chip("h100-sxm"), layout, fabric=fabric, **batch)


def thinner(factor: float, number: int) -> Fabric:
    """The fabric with one level so many times as oversubscribed."""
    levels = list(HPN.levels)
    over = levels[number].oversubscription
    figure = msgspec.structs.replace(over, value=over.value * factor, low=None, high=None)
    levels[number] = msgspec.structs.replace(levels[number], oversubscription=figure)
    return msgspec.structs.replace(HPN, levels=tuple(levels))


@pytest.mark.parametrize("chip", CATALOG.names("chip"))
@pytest.mark.parametrize("chips", [16, 48, 64, 1024])
def test_further_is_never_faster(chip: str, chips: int) -> None:
    kind, model = CATALOG.chip(chip), CATALOG.model("llama3-8b")
    layout: dict[str, float] = {"dp": chips, "zero": 3, "micro_batch": 1}
    known = spans.of_step(model, kind, layout, sequence=4096, global_batch=chips)
    for found in (known, spans.of_unknown(kind, chips)):
        assert 1 <= found.racks <= found.pods <= found.cores < 100


def test_it_grows_with_oversubscription_of_the_level_that_is_crossed() -> None:
    cores = [stretch(fabric=thinner(factor, 2)).cores for factor in (1, 2, 4)]
    assert 1 < cores[0] < cores[1] < cores[2]
    pods = [stretch(fabric=thinner(factor, 1)).pods for factor in (1, 50, 100)]
    assert pods[0] < pods[1] < pods[2]
    assert stretch(fabric=thinner(4, 2)).pods == stretch(fabric=HPN).pods, "not crossed"


def test_it_grows_with_the_model_and_shrinks_with_the_work_between_two_exchanges() -> None:
    thin = thinner(8, 2)
    small, large = (stretch(model, 16, thin).cores for model in ("mpt-1b", "llama3-70b"))
    assert 1 < small < large
    assert stretch(fabric=thin, sequence=8192).cores < stretch(fabric=thin, sequence=2048).cores


def test_pipelines_cross_with_activations() -> None:
    layout: dict[str, float] = {"tp": 8, "pp": 2, "dp": 4, "micro_batch": 1}
    model, chip = CATALOG.model("llama3-70b"), CATALOG.chip("h100-sxm")
    found = spans.of_step(model, chip, layout, sequence=4096, global_batch=64, fabric=HPN)
    assert found.cores > found.pods >= 1


def test_of_unknown_work_a_share_is_exchange() -> None:
    zhenwu = CATALOG.chip("zhenwu-810e")
    near, far = spans.of_unknown(zhenwu, 256), spans.of_unknown(zhenwu, 32)
    assert near.cores < far.cores, "a larger part has more links to the other"
    assert spans.of_unknown(CATALOG.chip("local-cpu"), 4) == spans.ALIKE
    assert spans.of_unknown(zhenwu, 1) == spans.ALIKE
