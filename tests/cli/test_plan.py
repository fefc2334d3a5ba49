"""`myriad plan` as people call it: what it prints, its JSON, its page, and its errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from myriad.cli.main import cli

LARGE = "--model llama3-405b --chip h100-sxm --chips 16384 --tokens 15.6T"
SMALL = "--model llama3-8b --chip h100-sxm --chips 16"
SERVED = "--serve --model llama3-70b --chip zhenwu-810e --slo ttft=1s,tpot=50ms --input 2000 --output 500"


def plan(words: str) -> Result:
    return CliRunner().invoke(cli, ["plan", *words.split()], env={"COLUMNS": "140"})


def test_a_plan_says_layout_time_certainty_and_reasons() -> None:
    done = plan(LARGE)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("model")
    for words in (
        "TP 8",
        "step time",
        "days",
        "GWh",
        "matrix products",
        "Front of time",
        "TP 16 leaves the scale-up",
    ):
        assert words in done.output
    assert "other layouts" in done.output
    assert "outer bounds" in done.output
    assert "assumed" in done.output


def test_a_chip_known_in_ranges_begins_with_the_range_and_explains_itself() -> None:
    done = plan("--model qwen3-235b-a22b --chip zhenwu-810e --chips 1024 --global-batch 16M-tokens --explain")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Step time between ")
    assert "110 TFLOP/s" in done.output.partition("model ")[0]
    assert "What moves the step time most" in done.output
    assert "CCTV" in done.output, "sources are told"
    assert "4,096 sequences of 4,096 tokens" in done.output


def test_chips_side_by_side() -> None:
    done = plan(
        "--compare zhenwu-810e,ascend-910c,h20,h100-sxm --model deepseek-v3 --chips 512 --tokens 14.8T "
        "--price 2.5USD"
    )
    assert done.exit_code == 0, done.output
    head = next(line for line in done.output.splitlines() if line.startswith("CHIP"))
    for column in ("STEP, S", "80 %", "MFU", "J/TOKEN", "DAYS", "GWH", "M USD"):
        assert column in head
    for chip in ("zhenwu-810e", "ascend-910c", "h20", "h100-sxm"):
        assert done.output.count(f"\n{chip} ") == 3, "times, layouts and what is estimated"
    assert "flops.bf16 (derived)" in done.output
    tree = json.loads(plan("--compare h20,h100-sxm --model llama3-8b --chips 16 --json").output)
    assert [one["question"]["chip"] for one in tree] == ["h20", "h100-sxm"]


def test_chips_with_other_software_are_compared_under_one_too() -> None:
    words = "--compare h100-sxm,gb200 --model llama3-8b --chips 64"
    done = plan(words)
    assert "WITH REFERENCE, S" in done.output
    assert "each chip has its usual one, and these differ" in done.output
    assert "--global-batch" in done.output, "what was assumed"
    tree = json.loads(plan(words + " --json").output)
    assert [one["common_stack"]["stack"] for one in tree] == ["reference", "reference"]
    assert len({one["question"]["global_batch"] for one in tree}) == 1
    for same in (words + " --stack reference", words.replace("gb200", "h200-sxm")):
        assert "WITH REFERENCE" not in plan(same).output


def test_nothing_fits_anywhere_is_an_answer() -> None:
    done = plan("--compare h20,h100-sxm --model llama3-405b --chips 16")
    assert done.exit_code == 1
    assert done.output.count("the model needs at least") == 2


def test_what_software_is_meant_is_told_where_nobody_says() -> None:
    done = plan(LARGE)
    assert "nemo-2024 (assumed)" in done.output
    assert "s reference" in done.output
    assert "by software" not in plan(LARGE + " --stack nemo-2024").output


def test_amounts_have_the_scale_of_the_run() -> None:
    small = plan(SMALL + " --tokens 20B --price 2.5USD --precision fp8").output
    for words in ("20B tokens", "kWh", " USD", "MFU (of the bf16 peak)"):
        assert words in small
    assert "million" not in small
    large = plan(LARGE + " --price 2.5USD").output
    for words in ("15.6T tokens", "GWh", " million USD", "MFU  "):
        assert words in large


def test_effects_have_units() -> None:
    done = plan(SMALL.replace("16", "64") + " --explain")
    row = next(line for line in done.output.splitlines() if line.startswith("share of peak of attention"))
    assert " to " in row


def test_a_batch_in_tokens_says_how_it_was_rounded() -> None:
    done = plan(SMALL + " --global-batch 7M-tokens")
    assert "rounded from 7,000,000" in done.output


def test_two_pools_say_what_they_do_to_the_chips() -> None:
    words = SERVED.replace("zhenwu-810e", "h100-sxm").replace("50ms", "30ms")
    tree = json.loads(plan(words + " --json").output)["plan"]
    apart, best = tree["disaggregated"], tree["options"][0]
    both = best["chips_per_replica"] / best["capacity_requests_per_s"]
    pools = [
        apart[part]["chips_per_replica"] / apart[part]["capacity_requests_per_s"]
        for part in ("prefill", "decode")
    ]
    assert apart["chips_share"] == pytest.approx(sum(pools) / both)
    assert apart["pays"] == (sum(pools) < both)
    said = plan(words).output
    assert ("under a large load: pays" in said) == (apart["chips_share"] < 0.97)


def test_a_service() -> None:
    done = plan(SERVED)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Between ")
    for words in ("TTFT 1 s and TPOT 50 ms", "tokens/s a chip", "two pools", "Left out"):
        assert words in done.output
    tree = json.loads(plan(SERVED + " --load 10/s --json").output)
    assert tree["requests_per_s"] == 10
    assert tree["plan"]["options"][0]["layout"]["tp"] >= 1
    assert {"low", "value", "high"} == set(tree["plan"]["intervals"]["chips"])


def test_a_promise_that_nobody_can_keep_is_an_answer() -> None:
    done = plan(SERVED.replace("ttft=1s", "ttft=1ms"))
    assert done.exit_code == 1
    assert "No layout keeps the promise" in done.output
    assert "TTFT" in done.output


def test_nothing_fits_is_an_answer() -> None:
    done = plan("--model llama3-405b --chip h100-sxm --chips 16")
    assert done.exit_code == 1
    assert "No layout of the" in done.output
    assert "the model needs at least 96" in " ".join(done.output.split())


def test_json_has_everything() -> None:
    tree = json.loads(plan(SMALL + " --tokens 1T --reliability 0.5 --price 2USD --json").output)
    best = tree["options"][0]
    assert sum(best["seconds"].values()) == pytest.approx(best["step_s"]["value"])
    assert best["run"]["goodput"]["share"] < 1
    assert best["run"]["cost"]["value"] > 0
    assert tree["considered"] == tree["fitting"] + sum(one["layouts"] for one in tree["refused"])
    assert tree["question"]["assumed"]
    assert tree["stability"]["stays"] in (True, False)
    assert tree["front"]


def test_failures_lengthen_the_calendar() -> None:
    done = plan(LARGE + " --reliability 2000d")
    for words in ("goodput", "calendar time", "checkpoint of 5.68 TB"):
        assert words in done.output


def test_one_layout() -> None:
    done = plan(SMALL + " --layout tp=2,mb=1")
    assert done.exit_code == 0, done.output
    assert "TP 2 DP 8 micro-batch 1 ZeRO-1 SP" in done.output
    assert "Left out" not in done.output
    large = plan("--model llama3-70b --chip h100-sxm --chips 16 --layout tp=1,zero=0")
    assert "DOES NOT FIT" in large.output
    assert "other layouts fit" in " ".join(large.output.split())
    assert large.exit_code == 1
    words = [*SMALL.split(), "--layout", "TP 2 DP 8 micro-batch 1 ZeRO-1 SP"]
    printed = CliRunner().invoke(cli, ["plan", *words], env={"COLUMNS": "140"})
    assert printed.output == done.output


def test_a_page_stands_alone(tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    done = plan(f"{SMALL} --tokens 1T --plot {page}")
    assert done.exit_code == 0, done.output
    assert f"written to {page}" in done.output
    text = page.read_text()
    assert text.count("<svg") == 3
    for words in (
        "Where the step time goes",
        "Where the memory goes",
        "Time, memory and chips",
        "What is left out",
    ):
        assert words in text
    assert "<script" not in text
    assert "src=" not in text
    for words in ("Tokens/s", "Energy", "matrix products", "may be filled"):
        assert words in text
    assert plan(f"{SMALL} --plot {tmp_path}/no/such.html").exit_code == 2
    large = "--model llama3-70b --chip h100-sxm --chips 16 --layout tp=1"
    assert plan(f"{large} --plot {page}").exit_code == 1
    assert "DOES NOT FIT" in page.read_text()


@pytest.mark.parametrize(
    ("words", "figures", "told"),
    [
        (
            "--compare h100-sxm,gb200 --model llama3-8b --chips 64 --tokens 1T --price 2USD",
            2,
            "all under reference",
        ),
        ("--compare h100-sxm,h20 --model llama3-8b --chips 64", 2, "J/token"),
        ("--compare h100-sxm,h20 --model llama3-405b --chips 8", 0, "none fits"),
        (SERVED, 1, "Layouts that keep the promise"),
        (SERVED.replace("ttft=1s", "ttft=1ms"), 1, "no layout keeps the promise"),
    ],
)
def test_comparisons_and_services_are_drawn(tmp_path: Path, words: str, figures: int, told: str) -> None:
    page = tmp_path / "plan.html"
    done = plan(f"{words} --plot {page}")
    assert done.exit_code in (0, 1), done.output
    assert f"written to {page}" in done.output
    text = page.read_text()
    assert text.count("<svg") == figures
    assert told in text
    assert plan(f"{words} --plot {page}").exit_code == done.exit_code
    assert page.read_text() == text, "the same page each time"


def test_entries_of_your_own(tmp_path: Path) -> None:
    chip = (
        "chip:\n  title: Mine\n  architecture: hopper\n"
        "  chips_per_node: {value: 8, status: estimated, source: me}\n"
        "  memory_bytes: {value: 200 GiB, status: estimated, source: me}\n"
        "  memory_bytes_per_s: {value: 5 TB/s, status: estimated, source: me}\n"
        "  flops:\n    bf16: {value: 1500 TFLOP/s, status: estimated, source: me}\n"
        "  scale_up_bytes_per_s: {value: 450 GB/s, status: estimated, source: me}\n"
        "  scale_up_domain: {value: 8, status: estimated, source: me}\n"
        "  nic_bytes_per_s: {value: 400 Gb/s, status: estimated, source: me}\n"
        "  power_w: {value: 700 W, status: estimated, source: me}\n"
        "  training_share: {value: 0.4, status: estimated, source: me}\n"
    )
    (tmp_path / "mine.yaml").write_text(chip)
    done = plan(f"--model llama3-8b --chip mine --chips 16 --catalog {tmp_path}")
    assert done.exit_code == 0, done.output
    assert "16 x mine on its own network ports, reference" in done.output
    assert "of your catalogue" not in done.output
    (tmp_path / "h20.yaml").write_text(chip)
    done = plan(f"--model llama3-8b --chip h20 --chips 16 --catalog {tmp_path}")
    assert "chip h20 of your catalogue, not the shipped one" in " ".join(done.output.split())
    (tmp_path / "h20.yaml").write_text(chip.replace("200 GiB", "0 GiB"))
    done = plan(f"--model llama3-8b --chip h20 --chips 16 --catalog {tmp_path}")
    assert done.exit_code == 2
    assert "h20.yaml: chip.memory_bytes.value: must be more than zero (got '0 GiB'). Write" in done.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "--model llama3-405 --chip h100-sxm --chips 16",
            "model: is not in the catalogue (got 'llama3-405'). Did you",
        ),
        (
            "--model llama3-8b --chip h100-smx --chips 16",
            "chip: is not in the catalogue (got 'h100-smx'). Did you mean h100-sxm",
        ),
        (
            "--model llama3-8b --chip h100-sxm --chips 12",
            "chips: is not a multiple of a node of 8 (got 12). Write 8 or 16",
        ),
        (
            "--model llama3-8b --chip h100-sxm --chips -8",
            "chips: must be a whole number above zero (got '-8')",
        ),
        ("--model llama3-8b --chip h100-sxm --chips many", "chips: must be a whole number above zero"),
        ("--model llama3-8b --chip h100-sxm --chips 1e30", "chips: must be written out in figures"),
        ("--model llama3-8b --chip h100-sxm --chips 900M", "chips: is more than any cluster has"),
        (
            "--model llama3-8b --chip h100-sxm --chips 3",
            "chips: is not a multiple of a node of 8, nor a part",
        ),
        (
            "--model llama3-8b --chip H100 --chips 16",
            "chip: is not in the catalogue (got 'H100'). Did you mean h100",
        ),
        ("--model llama3-8b --chip h100-sxm", "--chips: is missing"),
        ("--compare h20 --model llama3-8b --chips 16", "--compare: names one chip only (got 'h20')"),
        ("--compare h20,h20 --model llama3-8b --chips 16", "--compare: names a chip twice"),
        ("--compare h20, --model llama3-8b --chips 16", "--compare: has an empty part"),
        ("--serve --compare h20,h100-sxm", "--compare: does not go with --serve"),
        (f"{SERVED} --chips abc", "--chips: does not go with --serve (got 'abc')"),
        (f"{SMALL} --price 2USD", "--price: says something about a whole run, and --tokens are missing"),
        (f"{SMALL} --reliability 0.5", "--reliability: says something about a whole run"),
        (f"{SMALL} --global-batch 7-tokens", "global-batch: is less than one sequence of 8,192 tokens"),
        (f"{SMALL} --global-batch 12.5-sequences", "global-batch: must be a whole number"),
        (f"{SMALL} --top 0", "top: must be a whole number above zero"),
        (f"{SMALL} --layout=", "--layout: is empty"),
        (f"{SMALL} --tokens 1T --reliability=", "--reliability: is empty"),
        (f"{SMALL} --layout tp=8,tp=4", "layout: tp: is said twice"),
        (f"{SMALL} --tokens 1T --price 2.5XYZ", "price: is not a known currency (got 'XYZ')"),
        (f"{SMALL} --tokens 1T --price 0USD", "price: must be more than zero"),
        (
            SERVED.replace("ttft=1s", "ttft=0s"),
            "slo: ttft: must be more than zero (got '0s'). Write for example ttft",
        ),
        ("--chip h100-sxm --chips 16", "--model: is missing"),
        (
            f"{SMALL} --global-batch 2048",
            "global-batch: has no unit (got '2048'). Write for example 16M-tokens",
        ),
        (f"{SMALL} --global-batch -4M-tokens", "global-batch: must be more than zero"),
        (f"{SMALL} --global-batch lots", "global-batch: is not understood"),
        (f"{SMALL} --tokens -1T", "tokens: is not a number of tokens"),
        (f"{SMALL} --tokens 15", "tokens: is less than one step"),
        (f"{SMALL} --sequence 8k", "sequence: must be a whole number"),
        (f"{SMALL} --tokens 1T --price 2", "price: is not a price (got '2'). Write an amount and a currency"),
        (f"{SMALL} --tokens 1T --reliability often", "reliability: is not a failure rate"),
        (f"{SMALL} --precision fp7", "precision: is not known"),
        (
            f"{SMALL} --layout tp=3",
            "layout: tp: TP 3 does not divide 16 chips (got 3). Choose a TP that divides 16",
        ),
        (
            f"{SMALL} --layout tp=16",
            "layout: tp: TP 16 leaves the scale-up domain of 8 (got 16). Choose a TP of at most 8",
        ),
        (f"{SMALL} --slo ttft=1s", "--slo: is about a service"),
        (
            f"{SMALL} --fabric rail-500g",
            "fabric: is not in the catalogue (got 'rail-500g'). Did you mean rail-",
        ),
        ("--compare h20 --chip h20 --model llama3-8b --chips 16", "--chip: does not go with --compare"),
        (SERVED.replace("50ms", "50"), "slo: tpot: is not understood (got '50')"),
        (SERVED.replace(",tpot=50ms", ""), "slo: tpot: is missing"),
        (SERVED.replace("ttft", "ttfb"), "slo: is not a promise (got 'ttfb'). Did you mean ttft"),
        (f"{SERVED} --load 10", "load: is not a rate (got '10'). Write for example 10/s"),
        (f"{SERVED} --tokens 1T", "--tokens: does not go with --serve"),
        (SERVED.replace("--output 500", "--output 0"), "output: must be a whole number above zero"),
    ],
)
def test_mistakes_name_the_field_and_the_remedy(words: str, told: str) -> None:
    done = plan(words)
    assert done.exit_code == 2, done.output
    assert f"error: {told}" in done.output
    assert "Traceback" not in done.output


def test_planning_loads_neither_server_nor_plots() -> None:
    """A plan is asked for and answered within a second; these would take longer to import."""
    code = (
        "import sys; from myriad.cli.main import cli; cli.commands['plan']; import myriad.cli.training_plan; "
        "heavy = {'aiohttp', 'httpx', 'matplotlib', 'uvloop', 'myriad.control.state'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
