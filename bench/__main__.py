"""`python -m bench`: every benchmark in a process of its own; one table, and one JSON file in out/."""

import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
HELPERS = ("__init__", "__main__", "report", "saturated")


def main() -> int:
    """Run all; 1 if any failed."""
    names = sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.py") if path.stem not in HELPERS)
    results, failed = [], []
    for name in names:
        print(f"== bench.{name}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"bench.{name}"],
            cwd=HERE.parent,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        print(done.stdout, end="", flush=True)
        if done.returncode:
            failed.append(name)
        else:
            results.append(json.loads(done.stdout.strip().splitlines()[-1]))
    table = Table("benchmark", "value", "unit", "peer", "peer value", "ratio", title="benchmarks")
    for line in results:
        cells = (
            line["name"],
            f"{line['value']:g}",
            line["unit"],
            line["peer"],
            f"{line['peer_value']:g}",
            str(line["ratio"]),
        )
        table.add_row(*cells)
    Console(width=140).print(table)
    out = HERE.parent / "out" / "bench.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(results, indent=1))
    print(f"written to {out}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
