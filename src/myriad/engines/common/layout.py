"""Where jobs and services leave what they make, under the one folder that all nodes can reach."""

from pathlib import Path


def job_dir(home: Path, job: str) -> Path:
    """Everything a job leaves behind."""
    return home / "jobs" / job


def service_dir(home: Path, service: str) -> Path:
    """Everything a service leaves behind."""
    return home / "services" / service


def owner_dir(home: Path, job: str, service: str) -> Path:
    """The folder of whichever of the two is given."""
    return job_dir(home, job) if job else service_dir(home, service)


def owners(home: Path) -> list[str]:
    """Ids of all jobs and services that have left something. Raises OSError."""
    return [path.name for folder in ("jobs", "services") for path in (home / folder).glob("*")]


def logs_dir(owner: Path, attempt: str) -> Path:
    """Logs of one attempt, and how it was started."""
    return owner / "logs" / attempt


def log_file(logs: Path, rank: int) -> Path:
    """The output of one process."""
    return logs / f"rank-{rank}.log"
