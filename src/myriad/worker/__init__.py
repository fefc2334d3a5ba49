"""What runs beside a tenant's process: progress, checkpoints on request, and the recipes.

A training program of any kind may say

    import myriad.worker as myriad

    myriad.report(step=step, tokens=tokens, loss=loss)
    if request := myriad.should_checkpoint():
        myriad.checkpoint_saved(step=step, path=save(), request=request)

Outside Myriad every one of these does nothing, so the same program runs anywhere. Importing this
package costs milliseconds: torch is imported by the recipes alone, when they run.
"""

from myriad.worker.environment import checkpoint_dir, output_dir
from myriad.worker.reports import (
    checkpoint_saved,
    failed,
    pace,
    report,
    resumed,
    should_checkpoint,
    warn,
)

__all__ = [
    "checkpoint_dir",
    "checkpoint_saved",
    "failed",
    "output_dir",
    "pace",
    "report",
    "resumed",
    "should_checkpoint",
    "warn",
]
