"""Policy files: those that come with Myriad hold, the default is the code's, and one's own are loaded."""

from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from myriad.control import policyfile, sitefile
from myriad.control.core import Core
from myriad.control.policy import Policy
from myriad.kernel.errors import UserError
from myriad.kernel.ids import JobId
from myriad.kernel.units import SECOND
from myriad.protocol import facts, inputs
from myriad.protocol.values import Profile
from myriad.protocol.wire import decode
from myriad.twin.drive import Driver
from myriad.twin.world import World
from tests import build
from tests.server.harness import running

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "policies" / "shortest_first.yaml"
SITE = "name: x\nchip: local-cpu\npods: [{name: p, racks: 1, nodes_per_rack: 2}]\n"


def knobs() -> list[tuple[str, str]]:
    return [
        (section, name)
        for section in Policy.__struct_fields__
        for name in getattr(Policy(), section).__struct_fields__
    ]


def test_the_default_file_has_every_knob_with_its_default() -> None:
    tree = yaml.safe_load(policyfile.text("default"))
    assert tree == msgspec.to_builtins(Policy()), "src/myriad/control/policies/default.yaml"
    assert policyfile.choose("default").policy == Policy()


def test_the_default_file_has_a_comment_at_every_knob() -> None:
    lines = policyfile.text("default").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("  ") and not line.strip().startswith("#") and ":" in line:
            above = lines[number - 1].strip()
            assert above, f"{line.strip()} stands without a comment"


def test_the_guide_names_every_knob_policy_and_protocol() -> None:
    guide = (ROOT / "docs" / "policies.md").read_text()
    for section, name in knobs():
        default = msgspec.to_builtins(Policy())[section][name]
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        assert f"| `{section}.{name}` | {shown} |" in guide, f"{section}.{name}"
    for name in policyfile.names():
        assert f"`{name}`" in guide, name
    for kind in policyfile._KINDS:
        for word in (*kind.built_in, *kind.methods):
            assert word in guide, word


@pytest.mark.parametrize("name", policyfile.names())
def test_what_comes_with_myriad_is_read_and_says_what_it_is(name: str) -> None:
    chosen = policyfile.choose(name)
    assert chosen.source == name and chosen.own == policyfile.Own()
    assert (chosen.policy == Policy()) == (name == "default")
    assert 20 < len(policyfile.summary(name)) <= 110
    Core(chosen.policy, own=chosen.own)


# ---- one's own ----------------------------------------------------------------------------------


def test_the_example_runs_the_shortest_first() -> None:
    assert type(policyfile.choose(str(EXAMPLE)).own.order).__name__ == "ShortestFirst"
    driver = _driver(str(EXAMPLE))
    for name, steps in (("first", 30), ("long", 300), ("short", 20), ("middle", 60)):
        _submit(driver, name, 8, steps)
    _pass_s(driver, 2000)
    placed = [fact.job for fact in _facts(driver) if isinstance(fact, facts.GangPlaced)]
    assert placed == ["first-1", "short-1", "middle-1", "long-1"]


def _driver(policy: str) -> Driver:
    """A core under the policy, in a simulated world of eight nodes."""
    chosen, site = policyfile.choose(policy), build.site(racks=2, nodes_per_rack=4, spares=0)
    driver = Driver(Core(chosen.policy, check=True, own=chosen.own), World(site, 0))
    driver.give(inputs.OpenSite(at=0, site=site))
    driver.world.census()
    driver.give(inputs.ApplyTenant(at=0, tenant=build.tenant()))
    _pass_s(driver, 10)
    return driver


def _pass_s(driver: Driver, seconds: float) -> None:
    end = driver.world.now + int(seconds * SECOND)
    driver.world.at(end, lambda: None)
    driver.run(end)


def _submit(driver: Driver, name: str, nodes: int, steps: int, **more: Any) -> None:
    spec = build.job(nodes, name=name, config={"steps": steps}, expected=f"{steps}s", **more)
    profile = Profile(steps=steps, tokens_per_step=1000, expected_ns=steps * SECOND)
    given = inputs.SubmitJob(at=driver.world.now, job=JobId(f"{name}-1"), spec=spec, profile=profile)
    driver.give(given)


def _facts(driver: Driver) -> list[facts.Fact]:
    return [fact for body in driver.journal for fact in decode(body).facts]


@pytest.mark.parametrize("name", [*policyfile.names(), str(EXAMPLE)])
def test_under_each_policy_everything_ends(name: str) -> None:
    driver = _driver(name)
    for number in range(14):
        steps, nodes = (20, 100, 400)[number % 3], 1 + number * 3 % 7
        _submit(driver, f"j{number}", nodes, steps, priority=("low", "normal", "high")[number % 2])
        _pass_s(driver, number % 4 * 20)
    _pass_s(driver, 20_000)
    ended = [fact.outcome for fact in _facts(driver) if isinstance(fact, facts.JobEnded)]
    assert ended == ["succeeded"] * 14


def test_fifo_never_lets_anyone_pass_and_easy_does() -> None:
    for name, order in (("fifo", ["a-1", "b-1", "c-1"]), ("easy", ["a-1", "c-1", "b-1"])):
        driver = _driver(name)
        for job, nodes, steps in (("a", 6, 400), ("b", 8, 100), ("c", 2, 20)):
            _submit(driver, job, nodes, steps)
        _pass_s(driver, 5000)
        assert [fact.job for fact in _facts(driver) if isinstance(fact, facts.GangPlaced)] == order


def test_a_class_is_found_by_module_and_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    chosen = policyfile.parse("order: {policy: 'shortest_first:ShortestFirst'}", "x.yaml")
    assert dict(policyfile.classes(chosen)) == {"order": "shortest_first.ShortestFirst"}
    entry = metadata.EntryPoint("shortest", "shortest_first:ShortestFirst", policyfile.GROUP)
    found = metadata.EntryPoints([entry])
    monkeypatch.setattr(metadata, "entry_points", found.select)
    assert policyfile.announced() == ["shortest"]
    assert policyfile.parse("order: {policy: shortest}", "x.yaml").own.order is not None
    with pytest.raises(UserError, match="Did you mean shortest"):
        policyfile.parse("order: {policy: shortst}", "x.yaml")


@pytest.mark.parametrize(
    ("text", "field", "told"),
    [
        ("order: {policy: fiar}", "p.yaml: order.policy", "(got 'fiar'). Did you mean fair"),
        ("placement: {policy: pack}", "p.yaml: placement.policy", "Did you mean packed"),
        ("preemption: {policy: cheap}", "p.yaml: preemption.policy", "Did you mean cheapest"),
        ("backfill: {policy: eazy}", "p.yaml: backfill", "easy, conservative or none"),
        ("backfil: {depth: 3}", "p.yaml: backfil", "Did you mean backfill"),
        ("backfill: {dept: 3}", "p.yaml: backfill.dept", "Did you mean depth"),
        ("order: {caution: 1}", "p.yaml: order.caution", "Known: half_life, period, policy"),
        ("backfill: {depth: 0}", "p.yaml: backfill", "1 or more"),
        ("order: {half_life: 7}", "p.yaml: order.half_life", "7s"),
        ("order: {half_life: 7 days}", "p.yaml: order", "half_life: '7 days'"),
        ("recover: {silence: '5'}", "p.yaml: recover", "silence: '5' has no unit"),
        ("route: {cool_down: soon}", "p.yaml: route", "cool_down: 'soon' is not understood"),
        ("order: {policy: 'nothing.here:X'}", "p.yaml: order.policy", "cannot be imported"),
        ("order: {policy: 'absent.py:X'}", "p.yaml: order.policy", "cannot be imported"),
        ("order: {policy: 'own.py:Shortest'}", "p.yaml: order.policy", "is not in the module"),
        ("order: {policy: 'own.py:Half'}", "p.yaml: order.policy", "has no method tenant_key"),
        ("order: {policy: 'own.py:Greedy'}", "p.yaml: order.policy", "cannot be made"),
        ("order: {policy: 'own.py:value'}", "p.yaml: order.policy", "has no method"),
    ],
)
def test_mistakes_name_field_value_and_remedy(tmp_path: Path, text: str, field: str, told: str) -> None:
    (tmp_path / "own.py").write_text(
        "value = 1\n"
        "class Half:\n    def ask_key(self, ask): return ()\n"
        "class Greedy(Half):\n    def __init__(self, more): ...\n    def tenant_key(self, s, n): return 0\n"
    )
    with pytest.raises(UserError) as caught:
        policyfile.parse(text, "p.yaml", tmp_path)
    assert str(caught.value).startswith(field) and told in str(caught.value)


def test_an_unknown_name_is_told_with_near_misses() -> None:
    with pytest.raises(UserError, match="Did you mean easy"):
        policyfile.choose("eazy")


# ---- in a site file -----------------------------------------------------------------------------


def test_a_site_file_names_a_policy_or_says_its_knobs(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("backfill: {depth: 7}")
    site = tmp_path / "site.yaml"
    for section, depth, source in (
        ("easy", 128, "easy"),
        ("mine.yaml", 7, str(tmp_path / "mine.yaml")),
        ("{backfill: {depth: 9}}", 9, f"{site}: policy"),
    ):
        site.write_text(f"{SITE}policy: {section}\n")
        setup = sitefile.read(site)
        assert (setup.policy.backfill.depth, setup.policy_source) == (depth, source)
    assert sitefile.parse(SITE, "x").policy_source == "default"
    assert sitefile.parse(SITE, "x").under(policyfile.choose("fifo")).policy.order.policy == "fifo"


# ---- at the start -------------------------------------------------------------------------------


def test_the_server_decides_by_the_policy_asked_for_else_that_of_its_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "policy.yaml").write_text("backfill: {depth: 7}\n")
    with running(home, "--engine", "memory") as server:
        found = server.get("/policy")
        assert found["source"] == str(home / "policy.yaml") and found["policy"]["backfill"]["depth"] == 7
        server.stop()
        server.options = ("--engine", "memory", "--policy", str(EXAMPLE))
        server.start()
        found = server.get("/policy")
        assert found["classes"] == {"order": "myriad_own_shortest_first.ShortestFirst"}
        assert found["policy"]["backfill"]["depth"] == 128, "one policy counts, they are not mixed"
        server.stop()
        process = server.spawn("--engine", "memory", "--policy", "shortst")
        assert process.wait(20) == 2
        assert "policy: is no policy that comes with Myriad (got 'shortst')" in server.said()
        assert "Traceback" not in server.said()
