"""The shipped workloads are what the calibration gives, and have the published aggregates."""

from typing import Any

import pytest
import yaml
from tools import calibrate_workload as tool

from myriad.twin.workload import config
from tests.twin.workload.shop import PARTS

DOCUMENTS = list(yaml.safe_load_all(tool.PRIORS.read_text()))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["file"])
def test_shipped_files_have_the_aggregates(document: dict[str, Any]) -> None:
    shipped = config.read(PARTS / document["file"])
    for figure in tool.figures(shipped, document["targets"]):
        assert figure.ratio == pytest.approx(1.0, abs=0.03), figure
    targets = document["targets"]
    assert shipped.jobs_per_day * document["days"] == pytest.approx(targets["jobs"], rel=1e-3)
    largest = max(size for kind in shipped.classes for size, weight in kind.sizes.items() if weight)
    assert largest == targets["largest"]


def test_the_tool_finds_them_again() -> None:
    document = next(one for one in DOCUMENTS if "kalos" in one["file"])
    again = tool.Mixture(document["workload"], document["targets"]).solve()
    shipped = config.read(PARTS / document["file"])
    for mine, theirs in zip(again.classes, shipped.classes, strict=True):
        assert mine.share == pytest.approx(theirs.share, rel=0.05)
