"""`myriad backup`, `restore` and `journal --verify` on journals that no control plane has open."""

import json
from pathlib import Path

import pytest
from bench.peers.postgres import Cluster
from click.testing import CliRunner

from myriad.cli.main import cli
from myriad.store import opening


def run(home: Path, *arguments: str) -> tuple[int, str]:
    """Exit code, and all that was said."""
    done = CliRunner().invoke(cli, ["--home", str(home), *arguments], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def digest(said: str) -> str:
    """The digest that a command printed."""
    return next(line.split()[1] for line in said.splitlines() if line.startswith("digest"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a journal of three records."""
    folder = tmp_path / "home"
    folder.mkdir()
    journal = opening.to_write(str(folder / "journal.db"))
    journal.append([b"one", b"two", b"three"])
    journal.close()
    return folder


def test_a_home_moves_to_postgres_and_its_backup_back(home: Path, tmp_path: Path, postgres: Cluster) -> None:
    url, file = postgres.database(), tmp_path / "file.db"
    before = digest(run(home, "journal", "--verify")[1])
    code, said = run(home, "restore", str(home / "journal.db"), "--journal", url)
    assert code == 0 and digest(said) == before and "written to  postgresql://myriad@" in said
    # what a control plane on that database would leave in its home
    other = tmp_path / "other"
    other.mkdir()
    (other / "context.json").write_text(json.dumps({"api_url": "http://127.0.0.1:1", "journal": url}))
    assert digest(run(other, "journal", "--verify")[1]) == before
    code, said = run(other, "backup", str(file))
    assert code == 0 and digest(said) == before
    code, said = run(tmp_path / "third", "restore", str(file))
    assert code == 0 and digest(said) == before
    assert digest(run(tmp_path / "third", "journal", "--verify")[1]) == before


def test_mistakes_name_the_remedy(home: Path, tmp_path: Path, postgres: Cluster) -> None:
    url, file = postgres.database(), str(tmp_path / "file.db")
    assert run(home, "backup", file)[0] == 0
    for arguments, remedy in (
        (("backup", file), "Give another name"),
        (("restore", file), "Give a path where there is none"),
        (("restore", str(tmp_path / "none.db")), "Check the path"),
        (("backup", file, "--journal", url), "myriad up --journal URL"),
        (("journal", "--verify", "--journal", url), "myriad up --journal URL"),
        (("journal", "--repair", "--journal", url), "myriad restore FILE --journal URL"),
        (("backup", file + "2", "--journal", "postgresql://x@127.0.0.1:1/d"), "Start PostgreSQL"),
    ):
        code, said = run(home, *arguments)
        assert code == 2 and said.startswith("error: ") and remedy in said, (arguments, said)
        assert "Traceback" not in said
