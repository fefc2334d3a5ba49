"""A simulation with everything it leaves behind: report.html, facts.parquet, series.parquet, result.json."""

from pathlib import Path

import msgspec

from myriad.kernel.errors import UserError
from myriad.studies import parquet, simulation, simulation_page
from myriad.studies.simulation import Case, Progress, Result


def run(case: Case, seed: int, folder: Path, on_progress: Progress | None = None) -> Result:
    """Play a case once, writing its facts as they come, then the rest. Raises UserError when it cannot."""
    try:
        with parquet.FactsFile(folder / "facts.parquet") as facts:
            result = simulation.run(case, seed, on_progress, facts)
        parquet.write_series(folder / "series.parquet", result.outcome.series)
        (folder / "report.html").write_text(simulation_page.render(result), encoding="utf-8")
        text = msgspec.json.format(msgspec.json.encode(simulation.tree(result)), indent=2)
        (folder / "result.json").write_bytes(text + b"\n")
    except OSError as error:
        raise UserError(error.strerror or str(error), field="--report", value=str(folder)) from None
    return result
