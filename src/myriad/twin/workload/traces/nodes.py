"""Sites of the traces that publish their nodes."""

from collections import Counter
from pathlib import Path

from myriad.fleet.site import Pod, Site
from myriad.kernel.errors import UserError
from myriad.twin.workload.traces.rows import Cells, Flaw, explained, table

#: Nodes of a rack: not published; estimated.
RACK = 16


def openb_site(path: Path, name: str = "openb", chip: str = "v100-sxm-32gb") -> Site:
    """The site of Alibaba's `openb_node_list_gpu_node.csv`: a pod for each model and GPUs of a node.

    Who gets which node type is not asked by the default task list, and two models are not disclosed, so
    that all count as one `chip`; racks of 16 nodes are estimated. Nodes without GPUs are left out.
    """
    lines = table(path)
    header = next(lines, (1, []))[1]
    lacking = [column for column in ("sn", "gpu", "model") if column not in header]
    if lacking:
        raise UserError(
            f"has no column {', '.join(lacking)}",
            field=f"{path.name}, line 1",
            value=",".join(header)[:120],
            remedy="Give the node list of cluster-trace-gpu-v2023",
        )
    names = {column: at for at, column in enumerate(header)}
    found: Counter[tuple[str, int]] = Counter()
    for line, values in lines:
        cells = Cells(names, values, line)
        try:
            gpus, model = int(cells.number("gpu")), cells.text("model").lower()
        except Flaw as flaw:
            raise explained(path, line, flaw) from None
        if gpus:
            found[model, gpus] += 1
    pods = []
    for (model, gpus), count in sorted(found.items()):
        racks, rest = divmod(count, RACK)
        own = f"{model}x{gpus}"
        if racks:
            pods.append(Pod(name=own, racks=racks, nodes_per_rack=RACK, chips_per_node=gpus))
        if rest:
            pods.append(Pod(name=f"{own}-rest", racks=1, nodes_per_rack=rest, chips_per_node=gpus))
    if not pods:
        raise UserError("lists no node with accelerators", field="nodes", value=str(path))
    largest = max(gpus for _, gpus in found)
    return Site(name=name, chip=chip, chips_per_node=largest, pods=tuple(pods))
