"""Style as code: what ruff cannot say. Run by `make check`; exits 1 and lists every breach.

Ceilings: 500 lines a module, 70 lines a function. No absolute paths of a machine, no registry hosts, no
large files, and every package says what it is for.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULE_LINES, FUNCTION_LINES, FILE_BYTES = 500, 70, 512 * 1024
# the host names are written in pieces so that this file does not name them
HOSTS = re.compile("|".join(["py" + r"pi\.org", "python" + r"hosted", r"registry\." + "npmjs"]))


def tracked() -> list[Path]:
    """Files of the repository, those not yet added included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def breaches(path: Path) -> Iterator[str]:
    """Everything untidy about one file."""
    name = path.relative_to(ROOT)
    if path.stat().st_size > FILE_BYTES:
        yield f"{name}: {path.stat().st_size} bytes, at most {FILE_BYTES}"
        return
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        yield f"{name}: binary file"
        return
    if HOSTS.search(text):
        yield f"{name}: names a package registry"
    if path.suffix == ".py":
        yield from untidy_python(str(name), text)


def untidy_python(name: str, text: str) -> Iterator[str]:
    """Ceilings and docstrings of one module."""
    tree = ast.parse(text)
    lines = text.count("\n")
    if lines > MODULE_LINES:
        yield f"{name}: {lines} lines, at most {MODULE_LINES}"
    if name.startswith("src/") and text.strip() and not ast.get_docstring(tree):
        yield f"{name}: no docstring says where it stands and why"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}"


def main() -> int:
    """Print every breach; 1 if there is any."""
    found = [line for path in tracked() for line in breaches(path)]
    print("\n".join(found) or "tidy")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
