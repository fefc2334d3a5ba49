"""The hazard of a job by its own software: what is published at each size, and how it falls with age."""

import math

import pytest

from myriad.kernel.rng import Stream
from myriad.twin.faults import Faults, software_fault
from myriad.twin.faults import software as own
from myriad.twin.faults.config import Software
from tests.twin.faults import build

RSC_1 = 6.5e-3


def mean_hours(chips: int) -> float:
    return 24 / (RSC_1 * chips / 8 + own.per_day(Software(), chips))


def test_both_terms_together_are_what_meta_saw_and_projects() -> None:
    assert mean_hours(8) / 24 == pytest.approx(47.7, rel=0.02)
    assert mean_hours(1024) == pytest.approx(7.9, rel=0.03)
    assert mean_hours(16_384) == pytest.approx(1.8, rel=0.10)
    assert mean_hours(131_072) == pytest.approx(0.23, rel=0.10)


def test_a_production_run_fails_far_less_than_a_trial_of_its_size() -> None:
    trial, production = (own.per_day(Software(), 4096, trial) for trial in (1, 0))
    assert trial > 30 * production > 0
    assert production < own.per_day(Software(), 4096) < trial
    assert own.per_day(Software(), 100_000, 0) == own.per_day(Software(), 16_384, 0)


def test_hardware_alone_misses_the_small_jobs() -> None:
    assert 24 / (RSC_1 * 128) > 3 * 7.9


def test_large_runs_fail_by_software_about_as_often_as_published() -> None:
    assert own.per_day(build.faults(part="llama3").software, 16_384) * 54 == pytest.approx(63, rel=0.01)
    assert own.per_day(build.faults(part="byterobust").software, 9600) * 90 == pytest.approx(32, rel=0.01)


def test_draws_have_the_mean_of_the_rate() -> None:
    stream = Stream(1)
    times = [software_fault(Faults(), stream, 1024)[0] for _ in range(4000)]
    assert sum(times) / len(times) == pytest.approx(86_400 / own.per_day(Software(), 1024), rel=0.06)


def test_a_young_job_fails_more_and_settles() -> None:
    young = Software(young=10, settles="1h")

    def mean(age_s: float) -> float:
        stream, rate = Stream(2), own.per_day(young, 1024)
        return sum(own.after_s(young, rate, age_s, stream) for _ in range(2000)) / 2000

    settled = 86_400 / own.per_day(young, 1024)
    assert mean(0) < 0.85 * settled
    assert mean(1e6) == pytest.approx(settled, rel=0.08)
    # the integral of the hazard at the time drawn is exponential with mean 1
    stream, rate = Stream(3), own.per_day(young, 1024) / 86_400
    drawn = [own.after_s(young, rate * 86_400, 0, stream) for _ in range(3000)]
    integrals = [rate * (t + 9 * 3600 * -math.expm1(-t / 3600)) for t in drawn]
    assert sum(integrals) / len(integrals) == pytest.approx(1.0, rel=0.06)


def test_faults_are_software_and_need_no_repair() -> None:
    stream = Stream(4)
    found = [software_fault(build.faults(part="byterobust"), stream, 9600)[1] for _ in range(500)]
    assert all(fault and fault.scope == "software" and not fault.permanent for fault in found)
    causes = [fault.cause for fault in found if fault]
    assert causes.count("nan") / len(causes) == pytest.approx(12 / 32, abs=0.07)


def test_no_rate_no_fault() -> None:
    assert software_fault(build.faults(part="none"), Stream(1), 4096) == (math.inf, None)
