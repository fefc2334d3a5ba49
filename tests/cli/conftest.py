"""A fake control plane, and the command line in this process."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from myriad.cli.main import cli
from tests.cli.fake import Fake, serving

Myriad = Callable[..., Result]


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serving() as found:
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def myriad(fake: Fake, home: Path) -> Myriad:
    """Runs a command against the fake, as its operator."""
    home.mkdir()
    context = {"api_url": fake.url, "gateway_url": fake.url, "key": "operator-key"}
    (home / "context.json").write_text(json.dumps(context))

    def run(*arguments: str, **env: str) -> Result:
        clean = {"MYRIAD_URL": None, "MYRIAD_KEY": None, "MYRIAD_HOME": str(home), "COLUMNS": "100"}
        return CliRunner().invoke(cli, arguments, env={**clean, **env})

    return run
