"""What every test may use."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # tests.build, bench

from tests.slurm.fixtures import slurm, slurm_running  # noqa: F401 - fixtures for every folder
