"""Shipped entries: numbers with sources, models with their published parameters, aliases with one owner."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myriad.catalog import chips, files, listing
from myriad.catalog.models import Mla, Model, Moe
from myriad.catalog.shelf import Catalog
from myriad.kernel.errors import UserError
from tests import counted

CATALOG = Catalog.shipped()
ENTRIES = [(kind, name) for kind in files.KINDS for name in CATALOG.names(kind)]
#: Read when one plan is made; the command that makes it has a second for everything. 7,600 calls took 1 ms.
LOAD_CALLS = 25_000


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_number_has_a_source_and_a_sensible_interval(kind: str, name: str) -> None:
    rows = listing.rows(CATALOG.entry(kind, name))
    for row in rows:
        assert row.figure.source.strip(), row.field
        assert listing.show(row.figure.value, row.measures)
        assert (row.figure.low is None) == (row.figure.high is None), row.field
    assert len({row.field for row in rows}) == len(rows)


@pytest.mark.parametrize("kind", files.KINDS)
def test_names_and_aliases_belong_to_one_entry(kind: str) -> None:
    owners: dict[str, str] = {}
    for name in CATALOG.names(kind):
        for word in {name, *CATALOG.entry(kind, name).aliases}:
            assert owners.setdefault(word, name) == name, word
            assert CATALOG.name_of(kind, word) == name


@pytest.mark.parametrize("name", CATALOG.names("model"))
def test_parameters_are_those_published(name: str) -> None:
    model = CATALOG.model(name)
    told = model.parameters_published
    if told.low is None or told.high is None:
        assert model.parameters == told.value
    else:
        # the interval is that of the rounding
        assert told.low <= model.parameters <= told.high


@pytest.mark.parametrize(
    ("name", "active_b"),
    [
        ("deepseek-v3", 37),
        ("qwen3-235b-a22b", 22),
        ("qwen3-30b-a3b", 3.3),
        ("kimi-k2", 32),
        ("mixtral-8x7b", 12.9),
    ],
)
def test_active_parameters_are_those_published(name: str, active_b: float) -> None:
    assert math.isclose(CATALOG.model(name).active_parameters / 1e9, active_b, rel_tol=0.03)


@pytest.mark.parametrize("name", CATALOG.names("chip"))
def test_chips_are_consistent(name: str) -> None:
    chip = CATALOG.chip(name)
    assert chip.training_flops is chip.peak(chip.training_precision)
    # narrower formats are never slower than wider ones, int8 on the newest chips apart
    order = [chip.flops[key].value for key in ("fp32", "fp16", "bf16", "fp8", "fp4") if key in chip.flops]
    assert order == sorted(order)
    assert chip.scale_up_bytes_per_s.value >= chip.nic_bytes_per_s.value
    assert chip.nic_bytes_per_s.value < chip.memory_bytes_per_s.value


def test_what_nobody_published_has_an_interval() -> None:
    for name in ("zhenwu-810e", "zhenwu-m890"):
        chip = CATALOG.chip(name)
        for figure in (chip.memory_bytes_per_s, chip.training_flops, chip.nic_bytes_per_s):
            assert figure.status in ("estimated", "derived")
            assert figure.low is not None and figure.high is not None


def test_a_missing_precision_is_told_with_those_there_are() -> None:
    with pytest.raises(UserError, match="bf16"):
        CATALOG.chip("a100-sxm-80gb").peak("fp8")


def test_the_short_cut_is_the_catalogue() -> None:
    assert chips.named("h100-sxm") == CATALOG.chip("h100-sxm")
    with pytest.raises(UserError, match="h100-sxm"):
        chips.named("h100-smx")


@pytest.mark.parametrize("name", CATALOG.names("fabric"))
def test_fabrics_slow_down_outwards(name: str) -> None:
    levels = CATALOG.fabric(name).levels
    speeds = [level.shared_bytes_per_s for level in levels]
    assert speeds == sorted(speeds, reverse=True)
    latencies = [level.latency_s.value for level in levels]
    assert latencies == sorted(latencies)


SIZES = st.integers(1, 64)


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Architectures of every kind, small."""
    layers, kv, groups = draw(st.integers(2, 8)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    experts = draw(st.integers(1, 8))
    moe = Moe(
        experts=experts,
        top_k=draw(st.integers(1, experts)),
        ffn=draw(SIZES),
        shared_experts=draw(st.integers(0, 2)),
        shared_ffn=draw(SIZES),
        dense_layers=draw(st.integers(0, layers)),
        every=draw(st.integers(1, 2)),
        router_bias=draw(st.booleans()),
    )
    mla = Mla(q_rank=draw(st.integers(0, 8)), kv_rank=4, nope_dim=4, rope_dim=2, v_dim=4)
    shipped = CATALOG.model("llama3-8b")
    return Model(
        title="drawn",
        status="estimated",
        source="hypothesis",
        layers=layers,
        hidden=draw(SIZES),
        heads=kv * groups,
        kv_heads=kv,
        head_dim=draw(SIZES),
        ffn=draw(SIZES),
        gated=draw(st.booleans()),
        vocab=draw(SIZES),
        tied=draw(st.booleans()),
        norm=draw(st.sampled_from(("rms", "layer"))),
        mla=draw(st.sampled_from((None, mla))),
        moe=draw(st.sampled_from((None, moe))),
        bias=draw(st.booleans()),
        parameters_published=shipped.parameters_published,
    )


@given(models())
def test_parameters_are_the_sum_of_their_parts(model: Model) -> None:
    assert 0 < model.active_parameters <= model.parameters
    ends = model.embedding_parameters + model.head_parameters
    body = model.parameters - ends
    per_layer = model.attention_parameters + 2 * model.norm_parameters
    mlps = (model.layers - model.moe_layers) * model.mlp_parameters
    experts = model.moe.experts if model.moe else 0
    mixed = model.moe_layers * (model.shared_parameters + experts * model.expert_parameters)
    assert body == model.layers * per_layer + mlps + mixed
    idle = model.moe_layers * (experts - (model.moe.top_k if model.moe else 0)) * model.expert_parameters
    assert model.parameters - model.active_parameters == idle


def test_what_a_plan_needs_is_read_fast() -> None:
    def read() -> None:
        for kind, name in (("chip", "h100-sxm"), ("model", "deepseek-v3"), ("fabric", "rail-400g")):
            text = files.shipped_text.__wrapped__(kind, name)
            files.parse(text, kind, type(CATALOG.entry(kind, name)), name)

    read()
    assert counted.calls(read) < LOAD_CALLS
