"""Sites whose nodes have names already."""

import msgspec
import pytest

from myriad.control import sitefile
from myriad.fleet import site
from myriad.fleet.site import Pod
from myriad.kernel.errors import UserError

NAMED = """
name: s
chip: h20
pods:
  - name: a
    hosts: {leaf1: "node[01-02,07]", leaf2: "node[08-12]"}
    power: feed
  - {name: b, racks: 1, nodes_per_rack: 2}
  - name: c
    chips_per_node: 4
    hosts: {leaf1: "old[1-2]"}
"""


def test_named_nodes_stand_where_the_file_says() -> None:
    found = site.parse(NAMED, "f")
    assert (found.node_count, found.chip_count) == (12, 10 * 8 + 2 * 4)
    assert [pod.node_count for pod in found.pods] == [8, 2, 2]
    assert found.kinds() == {"h20": (12, 8)}
    places = found.places()
    assert [place.node for place in places[:4]] == ["node01", "node02", "node07", "node08"]
    # nodes that are counted are counted over the site, so that adding a pod behind renames none
    assert [(place.node, place.rack) for place in places[7:11]] == [
        ("node12", "a/leaf2"), ("n8", "b/r0"), ("n9", "b/r0"), ("old1", "c/leaf1"),
    ]  # fmt: skip
    assert {place.power for place in places} == {"feed", "b", "c"} and places[-1].chips == 4
    assert msgspec.json.decode(msgspec.json.encode(found), type=site.Site) == found


def test_a_site_without_names_is_written_as_before() -> None:
    pod = Pod(name="p", racks=2, nodes_per_rack=3)
    assert msgspec.json.encode(pod) == b'{"name":"p","racks":2,"nodes_per_rack":3}'
    assert pod.rack_sizes == (3, 3) and pod.node_count == 6


@pytest.mark.parametrize(
    ("pods", "says"),
    [
        ("[{name: a}]", "racks and nodes_per_rack must be 1 or more, or hosts"),
        ('[{name: a, racks: 1, nodes_per_rack: 2, hosts: {r: "n[1-2]"}}]', "leave out racks"),
        ('[{name: a, hosts: {r: "n[1-2"}}]', r"hosts.r: n\[1-2: has a bracket that is not closed"),
        ('[{name: a, hosts: {r/1: "n[1-2]"}}]', "'r/1' is no name for a rack"),
        ('[{name: a, hosts: {r: "x[1-2]", s: "x2"}}]', "x2 is in a/r and in a/s; name each host once"),
        ('[{name: a, hosts: {r: "x1,x1"}}]', "x1 is in a/r and in a/r; name each"),
        ('[{name: a, hosts: {r: x1}}, {name: b, hosts: {r: x1}}]', "x1 is in a/r and in b/r"),
        ('[{name: a, hosts: {r: n1}}, {name: b, racks: 1, nodes_per_rack: 1}]', "n1 is in a/r and in b/r0"),
        ("[{name: a, hosts: {r: 7}}]", "hosts"),
    ],
)  # fmt: skip
def test_flaws_name_the_field(pods: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        sitefile.parse(f"name: s\nchip: h20\npods: {pods}\n", "f")
