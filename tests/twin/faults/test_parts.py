"""Weights, times and bad input."""

import itertools
import math

import pytest

from myriad.kernel.errors import UserError
from myriad.kernel.rng import Stream
from myriad.twin.faults.laws import Law, normal
from myriad.twin.faults.weights import Weights
from tests.twin.faults import build


def test_rows_are_chosen_by_weight_while_weights_change() -> None:
    stream = Stream(1)
    values = [stream.uniform() * (row % 3) for row in range(100)]
    weights = Weights(values)
    for _ in range(500):
        row = stream.integer(0, 99)
        values[row] = stream.uniform() if stream.happens(0.7) else 0.0
        weights.set(row, values[row])
        share = stream.uniform()
        sums = itertools.accumulate(values)
        expected = next(row for row, running in enumerate(sums) if running > share * sum(values))
        assert weights.choose(share) == expected
    assert weights.total == pytest.approx(sum(values))
    assert values[weights.choose(1 - 1e-16)] > 0


def test_times_have_their_mean_and_spread_and_ceiling() -> None:
    stream = Stream(1)
    drawn = [Law(100, 0.5).draw(stream) for _ in range(20_000)]
    mean = sum(drawn) / len(drawn)
    assert mean == pytest.approx(100, rel=0.02)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in drawn) / len(drawn))
    assert deviation == pytest.approx(50, rel=0.06)
    assert max(Law(93, 1.0, 600).draw(stream) for _ in range(5000)) == 600
    assert Law(10, 0).draw(stream) == 10 and Law(0).draw(stream) == 0
    normals = [normal(stream) for _ in range(20_000)]
    assert sum(normals) / 20_000 == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{hardware: {chip: -1}}", ("chip", "0 (off) or more")),
        ("{hardware: {chips: 1}}", ("hardware.chips", "chip")),
        ("{hardware: {idle: 2}}", ("idle", "0 to 1")),
        ("{false_alarms: -0.1}", ("false_alarms", "0 (off)")),
        ("{software: {rate: -2}}", ("rate", "0 (off)")),
        ("{lemons: {share: 1.5}}", ("share", "0 to 1")),
        ("{lemons: {factor: 0.5}}", ("factor", "1 (no effect)")),
        ("{age: {infant: 0.2}}", ("infant", "1 (no effect)")),
        ("{age: {at_start: 60}}", ("at_start", "unit")),
        ("{age: {life: 0d}}", ("life", "more than 0")),
        ("{mix: llama4}", ("mix", "llama3")),
        ("{mix: {gpus: 3}}", ("gpus", "gpu")),
        ("{mix: {gpu: -3}}", ("mix.gpu", "0 or more")),
        ("{network: {links: 120}}", ("links", "0 to 100")),
        ("{slow: {node_lasts: 10}}", ("node_lasts", "unit")),
        ("{detection: {timeout: soon}}", ("timeout", "90s")),
        ("{network: {flap_harms: .nan}}", ("flap_harms", "0 (off)")),
    ],
)
def test_bad_faults_name_the_field_and_the_remedy(text: str, told: tuple[str, str]) -> None:
    with pytest.raises(UserError) as caught:
        build.faults(text)
    assert all(word in str(caught.value) for word in told), str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{automatic_fails: 1.4}", ("automatic_fails", "0 to 1")),
        ("{manual: 9d}", ("manual", "manual_most")),
        ("{technicians: -1}", ("technicians", "0 (off) or more")),
        ("{technician: 4}", ("technician", "technicians")),
        ("{unmended: 0}", ("unmended", "1 (no effect)")),
        ("{vendor: 14}", ("vendor", "unit")),
    ],
)
def test_bad_repairs_name_the_field_and_the_remedy(text: str, told: tuple[str, str]) -> None:
    with pytest.raises(UserError) as caught:
        build.repair(text)
    assert all(word in str(caught.value) for word in told), str(caught.value)
