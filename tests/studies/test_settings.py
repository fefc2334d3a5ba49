"""Settings from the command line: where they go in a scenario, grids of them, and mistakes."""

import pytest

from myriad.kernel.errors import UserError
from myriad.studies import settings

TREE = {
    "name": "small",
    "site": {"chip": "local-cpu", "pods": [{"name": "a", "racks": 10, "nodes_per_rack": 20}]},
    "faults": {"rate": 1.0},
}


def put(*texts: str) -> dict:
    return settings.applied(TREE, [settings.parse(text, "--set") for text in texts], "here.yaml")


def test_paths_are_those_of_the_file_with_short_forms() -> None:
    found = put(
        "recover.silence=20s", "order.policy=fifo", "faults.rate=2", "site.pods.0.racks=5", "span=90d"
    )
    assert found["policy"] == {"recover": {"silence": "20s"}, "order": {"policy": "fifo"}}
    assert found["faults"]["rate"] == 2 and found["site"]["pods"][0]["racks"] == 5 and found["span"] == "90d"
    assert TREE["faults"] == {"rate": 1.0} and TREE["site"]["pods"][0]["racks"] == 10, "a copy"


def test_spares_have_short_names() -> None:
    for text in ("spares=2%", "recover.spares=2%", "site.spares=2%"):
        assert put(text)["site"]["spares"] == "2%"


def test_a_grid_has_every_combination_the_last_axis_fastest() -> None:
    axes = [settings.parse_varied(text, "--vary") for text in ("a.b=1,2", "c={x: 1, y: 2},[3, 4]")]
    found = [[one.text for one in point] for point in settings.grid(axes)]
    assert found[:2] == [["a.b=1", "c={x: 1, y: 2}"], ["a.b=1", "c=[3, 4]"]] and len(found) == 4
    assert settings.grid([]) == [()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recover.spares", "is no setting"),
        ("recover.spares=", "is no setting"),
        ("=3", "is no setting"),
        ("a b=3", "is no setting"),
        ("a=1,,2", "empty value"),
        ("a=1,1", "names a value twice"),
        ("a=[1", "is no YAML"),
    ],
)
def test_malformed_settings_are_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        settings.parse_varied(text, "--vary")


def test_paths_that_lead_nowhere_are_refused() -> None:
    for text in ("name.first=x", "site.pods.3.racks=1", "site.pods.first.racks=1"):
        with pytest.raises(UserError, match=r"here\.yaml"):
            put(text)
    with pytest.raises(UserError, match="varied twice"):
        settings.grid([settings.parse_varied(text, "--vary") for text in ("spares=1", "recover.spares=2")])
