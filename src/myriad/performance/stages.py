"""How the layers of a model fall to the stages of a pipeline."""

from typing import NamedTuple

import numpy as np

from myriad.performance.columns import Column
from myriad.performance.layouts import Layouts
from myriad.performance.work import Work


class Stages(NamedTuple):
    """Columns of shape (n,)."""

    layers: Column  # of the fullest stage
    first_layers: Column  # of the first stage, which has the embedding as well
    last_layers: Column  # of the last stage, which has the head as well
    micro_batches: Column  # of one pipeline in one step


def split(work: Work, layouts: Layouts) -> Stages:
    """Layers of the fullest, the first and the last stage.

    Where pp x vpp divides the layers, all have as many. Where it divides two more (embedding and head counted
    as layers, as Llama 3 does), the outer stages have one less. Otherwise the last stage has what is left.
    """
    chunks = layouts.pp * layouts.vpp
    even = np.mod(work.layers, chunks) == 0
    with_edges = ~even & (np.mod(work.layers + 2, chunks) == 0) & (layouts.pp > 1)
    fullest = np.where(with_edges, (work.layers + 2) / layouts.pp, np.ceil(work.layers / layouts.pp))
    left = np.maximum(work.layers - fullest * (layouts.pp - 1), 0.0)
    last = np.where(with_edges, fullest - 1, np.where(even, fullest, left))
    micro_batches = work.global_batch / (layouts.dp * layouts.micro_batch)
    return Stages(
        layers=fullest,
        first_layers=np.where(with_edges, fullest - 1, fullest),
        last_layers=last,
        micro_batches=np.maximum(micro_batches, 1.0),
    )
