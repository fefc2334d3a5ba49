"""Where a service's model lies: a folder as given, or what a finished training job of the tenant exported."""

from pathlib import Path

from myriad.control.records import Job
from myriad.control.state import State
from myriad.kernel.errors import UserError, near
from myriad.server.home import Home
from myriad.workload.services import InferenceService


def resolve(state: State, home: Home, spec: InferenceService) -> str:
    """The model folder of a service. Raises UserError when there is none yet."""
    if spec.model.path:
        return _folder(Path(spec.model.path), "model: path", "Give an absolute path to a model folder")
    wanted = spec.model.job
    mine = [job for job in state.jobs.values() if job.spec.tenant == spec.tenant]
    named = [job for job in mine if wanted in (job.job, job.spec.name)]
    if not named:
        known = [job.spec.name for job in mine]
        raise UserError(
            "is not a job of this tenant", field="model: job", value=wanted, remedy=near(wanted, known)
        )
    done = [job for job in named if job.outcome == "succeeded"]
    if not done:
        raise _unfinished(named[-1], wanted)
    remedy = "Only recipe jobs export a model; or give model: {path: FOLDER}"
    return _folder(home.model_of(done[-1].job), "model: job", remedy)


def _unfinished(job: Job, wanted: str) -> UserError:
    if job.outcome:
        problem, remedy = f"has not succeeded ({job.job} {job.outcome})", "Submit it again and let it finish"
    else:
        problem, remedy = f"has not finished ({job.job})", f"Wait for it: myriad logs -f {job.job}"
    return UserError(problem, field="model: job", value=wanted, remedy=remedy, status=409)


def _folder(path: Path, field: str, remedy: str) -> str:
    if not path.is_absolute() or not (path / "config.json").is_file():
        problem = "is not an absolute path" if not path.is_absolute() else "holds no model (no config.json)"
        raise UserError(problem, field=field, value=str(path), remedy=remedy)
    return str(path)
