"""A node is measured quickly, and a chip that computes wrong is not fit."""

import json
import subprocess
import sys

#: The recipe as the command line runs it; then again on a chip with one wrong column.
BOTH = """
import torch
from myriad.worker import run
from myriad.worker.recipes import qualify
run.main(["qualify"])
product = torch.Tensor.__matmul__
torch.Tensor.__matmul__ = lambda left, right: product(left, right) + (torch.arange(256.0) == 77)
run.main(["qualify"])
"""


def test_a_node_is_measured_and_a_wrong_product_noticed() -> None:
    done = subprocess.run([sys.executable, "-c", BOTH], capture_output=True, text=True, check=True)
    right, wrong = (json.loads(line) for line in done.stdout.splitlines())
    assert right["ok"], right
    assert right["gemm_flops"] > 1e8
    assert right["memory_bytes_per_s"] > 1e8
    assert right["detail"] == ""
    assert not wrong["ok"]
    assert "came out wrong" in wrong["detail"]
