"""A user's own entries: one file each, before shipped ones; mistakes are told with file, field, remedy."""

import re
from pathlib import Path

import pytest

from myriad.catalog import files
from myriad.catalog.shelf import Catalog
from myriad.kernel.errors import UserError

CHIP = files.shipped_text("chip", "zhenwu-810e")
MODEL = files.shipped_text("model", "deepseek-v3")
FABRIC = files.shipped_text("fabric", "hpn-7")


def shelf(folder: Path, **texts: str) -> Catalog:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return Catalog.shipped().with_folder(folder)


def test_own_entries_stand_beside_the_shipped_ones(tmp_path: Path) -> None:
    own = shelf(tmp_path, mine=CHIP, net=FABRIC, coder=MODEL)
    assert own.chip("mine") == own.chip("zhenwu-810e")
    assert own.fabric("net") == own.fabric("hpn-7")
    assert own.model("coder").parameters == own.model("deepseek-v3").parameters
    assert set(own.names("chip")) == {"mine", *Catalog.shipped().names("chip")}


def test_an_own_entry_goes_before_a_shipped_one(tmp_path: Path) -> None:
    own = shelf(tmp_path, **{"zhenwu-810e": CHIP.replace("96 GiB", "64 GiB")})
    assert own.chip("zhenwu-810e").memory_bytes.value == 64 * 2**30
    assert own.names("chip") == Catalog.shipped().names("chip")


def test_a_later_folder_goes_before_an_earlier_one(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    (first / "x.yaml").write_text(CHIP.replace("96 GiB", "1 GiB"))
    (second / "x.yaml").write_text(CHIP.replace("96 GiB", "2 GiB"))
    both = Catalog.shipped().with_folder(first).with_folder(second)
    assert both.chip("x").memory_bytes.value == 2 * 2**30


def test_aliases_of_own_entries_are_found(tmp_path: Path) -> None:
    own = shelf(tmp_path, mine=CHIP.replace("PPU-ZW810E", "my-card"))
    assert own.name_of("chip", "my-card") == "mine"


@pytest.mark.parametrize("kind", files.KINDS)
def test_an_unknown_name_has_near_misses(kind: str) -> None:
    known = Catalog.shipped().names(kind)[0]
    with pytest.raises(UserError, match=known):
        Catalog.shipped().entry(kind, known[:-1])


@pytest.mark.parametrize(
    ("was", "now", "field", "says"),
    [
        ("96 GiB", "96", "chip.memory_bytes.value", "80 GiB"),
        ("96 GiB", "96 GB/s", "chip.memory_bytes.value", "80 GiB"),
        ("400 W", "-400 W", "chip.power_w.value", "negative"),
        ("power_w", "power_watt", "chip.power_watt", "power_w"),
        ("low: 1.1 TB/s", "low: 1.1", "chip.memory_bytes_per_s.low", "no unit"),
        ("low: 1.1 TB/s", "low: 2.1 TB/s", "chip.memory_bytes_per_s", "order"),
        ("value: 16,", "value: 16 chips,", "chip.chips_per_node.value", "without a unit"),
        ("training_share: {value: 0", "training_share: {value: 1", "chip.training_share.value", "1 or less"),
        ("architecture: ppu", "architecture: npu", "chip", "architecture must be one of"),
        ("status: derived", "status: guessed", "status", "published"),
        ("  title:", "  name:", "chip.name", "not a known field"),
        ("chip:", "chips:", "chips", "chip"),
        ("chip:", "model: {}\nchip:", "mine.yaml", "one entry"),
    ],
)
def test_mistakes_are_told_with_file_field_and_remedy(
    tmp_path: Path, was: str, now: str, field: str, says: str
) -> None:
    assert was in CHIP
    with pytest.raises(UserError) as told:
        shelf(tmp_path, mine=CHIP.replace(was, now, 1))
    assert told.value.field.startswith("mine.yaml")
    assert field in told.value.field
    assert says in str(told.value)
    assert told.value.remedy


def test_a_bare_number_is_no_figure(tmp_path: Path) -> None:
    line = next(line for line in CHIP.splitlines() if "power_w:" in line)
    with pytest.raises(UserError, match="must be a figure"):
        shelf(tmp_path, mine=CHIP.replace(line, "  power_w: 400 W"))


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("layers: 61", "layers: -61", ">= 1"),
        ("kv_heads: 128", "kv_heads: 3", "multiple"),
        ("top_k: 8", "top_k: 800", "at most experts"),
        ("ffn: 18432", "ffn: 0", "ffn must be given"),
    ],
)
def test_a_model_that_cannot_be_is_refused(tmp_path: Path, was: str, now: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        shelf(tmp_path, mine=MODEL.replace(was, now, 1))


@pytest.mark.parametrize("text", ["", "chip: 3", "- 1", "chip: [", "chip:"])
def test_what_is_no_entry_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError):
        shelf(tmp_path, mine=text)


@pytest.mark.parametrize(
    ("field", "now", "says"),
    [
        ("memory_bytes", "0 GiB", "must be more than zero"),
        ("memory_bytes_per_s", "0 TB/s", "must be more than zero"),
        ("scale_up_bytes_per_s", "0 GB/s", "must be more than zero"),
        ("nic_bytes_per_s", "0 Gb/s", "must be more than zero"),
        ("power_w", "0 W", "must be more than zero"),
        ("chips_per_node", "0", "must be a whole number"),
        ("chips_per_node", "8.5", "must be a whole number"),
        ("scale_up_domain", "0", "must be a whole number"),
        ("power_w", "1e400 W", "is too large"),
        ("power_w", "-1 W", "must not be negative"),
    ],
)
def test_a_capacity_is_more_than_zero_and_a_count_whole(
    tmp_path: Path, field: str, now: str, says: str
) -> None:
    text = files.shipped_text("chip", "h100-sxm")
    text = re.sub(rf"(\n  {field}: {{value: )[^,]*", rf"\g<1>{now}", text)
    with pytest.raises(UserError, match=says) as caught:
        shelf(tmp_path, mine=text)
    assert caught.value.field == f"mine.yaml: chip.{field}.value"
    assert caught.value.value is not None
    assert caught.value.remedy


def test_a_peak_of_zero_and_a_level_of_no_chips_are_refused(tmp_path: Path) -> None:
    chip = files.shipped_text("chip", "h100-sxm").replace("bf16: {value: 989", "bf16: {value: 0")
    with pytest.raises(UserError, match=r"flops\.bf16\.value: must be more than zero"):
        shelf(tmp_path, mine=chip)
    fabric = re.sub(
        r"chips: {value: [^,]*", "chips: {value: 0.5", files.shipped_text("fabric", "rail-400g"), count=1
    )
    with pytest.raises(UserError, match="must be a whole number"):
        shelf(tmp_path, mine=fabric)


def test_another_case_is_a_near_miss_and_a_shadow_is_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean h100"):
        Catalog.shipped().chip("H100")
    catalog = shelf(tmp_path, h20=files.shipped_text("chip", "h20"), mine=MODEL)
    assert catalog.shadows("chip", "h20")
    assert not catalog.shadows("chip", "h100-sxm")
    assert not catalog.shadows("model", "mine")


def test_a_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        Catalog.shipped().with_folder(tmp_path / "none")


def test_other_files_of_a_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("notes")
    assert shelf(tmp_path).names("chip") == Catalog.shipped().names("chip")


def test_the_examples_are_a_catalogue() -> None:
    folder = Path(__file__).parents[2] / "examples" / "catalog"
    catalog = Catalog.shipped().with_folder(folder)
    assert catalog.chip("our-chip").parameters == Catalog.shipped().architecture("ppu").parameters
    model = catalog.model("our-model")
    told = model.parameters_published
    assert told.low is not None
    assert told.high is not None
    assert told.low <= model.parameters <= told.high
