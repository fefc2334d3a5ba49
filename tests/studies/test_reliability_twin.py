"""Published figures in the twin: the scenarios hold, runs are shared, and small ones come out."""

import json

import pytest
from click.testing import CliRunner

from myriad.cli.main import cli
from myriad.kernel.units import DAY, HOUR
from myriad.protocol import facts
from myriad.studies import reliability, reliability_lemons, reliability_scenarios
from myriad.studies.reliability import Figure, Parts
from myriad.studies.reliability_twin import Twin
from myriad.twin import outcome, run

FIGURES = {figure.id: figure for figure in reliability.shipped()}
PARTS = Parts()


@pytest.mark.parametrize("figure", FIGURES.values(), ids=str)
def test_every_figure_has_a_scenario_that_its_site_holds(figure: Figure) -> None:
    if figure.kind == "ettr":
        made = reliability_scenarios.of_job(figure, PARTS, 1.0)
        (job,) = made.jobs
        site = made.setup.site
        assert job.most * 8 >= figure.chips > (job.most - 1) * 8
        assert site.node_count >= job.most + site.fixed_spares
        assert made.physics.start_s == figure.seconds("restart") and made.faults
        assert made.faults.detection.factor == 0


@pytest.mark.parametrize("name", ["llama3-16k", "rsc-1", "byterobust-9600"])
def test_the_shipped_scenarios_are_read(name: str) -> None:
    made = reliability_scenarios.of_file(name, PARTS)
    assert made.expect and made.faults and made.name == name
    assert made.setup.site.chip_count >= max(job.most * job.chips_per_node for job in made.jobs)


def test_fields_of_a_shipped_scenario_can_be_changed() -> None:
    made = reliability_scenarios.of_file("rsc-1", PARTS, span="2d", policy__recover__lemon_losses=9)
    assert made.span_ns == 2 * DAY and made.setup.policy.recover.lemon_losses == 9


def test_small_figures_come_out_in_the_twin_and_runs_are_shared() -> None:
    seen: list[str] = []
    twin = Twin(PARTS, quick=True, watch=lambda name, share: seen.append(name))
    for name in ("rsc-ettr-2k", "requeue-2k", "in-place-2k"):
        value = twin(FIGURES[name])
        assert value is not None and FIGURES[name].met(value), (name, value)
    assert list(dict.fromkeys(seen)) == list(twin.outcomes) == ["rsc-ettr-2k", "requeue-2k", "in-place-2k"]
    again = len(seen)
    twin(FIGURES["rsc-ettr-2k"])
    assert len(seen) == again
    assert twin(FIGURES["rsc-mttf-131k"]) is None, "too large for a quick run"


def test_the_figures_of_an_outcome_name_the_job_and_what_broke_it() -> None:
    made = reliability_scenarios.of_job(FIGURES["rsc-ettr-2k"], PARTS, 20.0)
    found = outcome.figures(run.simulate(made, 1))
    assert 0.8 < found["job.ettr"] < 1 and found["broke"] > 20
    causes = sum(value for name, value in found.items() if name.startswith("broke."))
    assert causes == found["broke"] == found["interruptions"]


def test_jobs_that_hardware_stopped_are_counted_once() -> None:
    seen = reliability_lemons.Stopped("large", HOUR)
    for at, job in ((0, "large-1.1"), (HOUR, "large-2.1"), (HOUR, "large-3.1"), (HOUR, "small-1.1")):
        seen.follow([facts.GangRunning(at=at, attempt=job, step=0)])
    for _ in range(2):
        seen.follow([facts.GangStopped(at=2 * HOUR, attempt="large-2.1", cause="node", kept_step=0)])
    for job in ("large-1", "large-2", "large-3", "small-1"):
        seen.follow([facts.JobEnded(at=3 * HOUR, job=job, outcome="succeeded")])
    assert (seen.jobs, seen.stopped, seen.share) == (2, 1, 0.5)


def test_the_command_judges_by_the_twin_unless_told_not_to() -> None:
    asked = ["validate", "reliability", "--quick", "--only", "in-place-2k", "--json"]
    done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 0, done.output
    assert "simulating in-place-2k" in done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert row["twin"] and row["ratio"] == pytest.approx(row["twin"] / 46) and row["verdict"] == "met"
    (row,) = json.loads(CliRunner().invoke(cli, [*asked, "--no-twin"]).stdout)["rows"]
    assert row["twin"] is None and row["verdict"] == "met"
