"""Is this chip fit for work, and how fast is it? Under a second, on whatever device torch finds.

Three answers: does it still compute right (a known answer, exact), how fast does it multiply matrices,
how fast does it move memory. The planner takes the rates; the brain takes `ok`.
"""

import hashlib
import time
from typing import Any

import torch

#: Integers this small are exact in fp32 whatever the order of summation, so the answer has one digest.
_KNOWN_SIZE = 256
_KNOWN_DIGEST = "a7255b1667ad72af882ddfbc12413bed"
_GEMM_SIZE = {"cpu": 768, "cuda": 8192}
_COPY_BYTES = {"cpu": 64 << 20, "cuda": 4 << 30}


def measure(budget_s: float = 0.2) -> dict[str, Any]:
    """{ok, device, gemm_flops, memory_bytes_per_s, detail}; each rate is measured for `budget_s`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    found = known_answer(device)
    ok = found == _KNOWN_DIGEST
    return {
        "ok": ok,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "gemm_flops": _gemm_flops(device, budget_s),
        "memory_bytes_per_s": _memory_bytes_per_s(device, budget_s),
        "detail": "" if ok else f"a known product came out wrong (digest {found})",
    }


def known_answer(device: Any) -> str:
    """The digest of a product of two matrices of small integers."""
    ramp = torch.arange(_KNOWN_SIZE * _KNOWN_SIZE, device=device).reshape(_KNOWN_SIZE, -1)
    left = ((ramp * 7919) % 61 - 30).float()
    right = ((ramp * 104729) % 53 - 26).float()
    product = (left @ right).to(torch.int32).cpu().numpy()
    return hashlib.blake2b(product.tobytes(), digest_size=16).hexdigest()


def _gemm_flops(device: Any, budget_s: float) -> float:
    size = _GEMM_SIZE[device.type]
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    left, right = (torch.ones(size, size, device=device, dtype=kind) for _ in range(2))
    out = torch.empty(size, size, device=device, dtype=kind)
    seconds = _seconds_each(device, budget_s, lambda: torch.mm(left, right, out=out))
    return 2.0 * size**3 / seconds


def _memory_bytes_per_s(device: Any, budget_s: float) -> float:
    count = _COPY_BYTES[device.type]
    source = torch.ones(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = _seconds_each(device, budget_s, lambda: target.copy_(source))
    return 2.0 * count / seconds


def _seconds_each(device: Any, budget_s: float, work: Any) -> float:
    """The fastest of repeated runs: what the chip can do, with its neighbours' noise left out."""
    work()
    best, give_up_at = float("inf"), time.perf_counter() + budget_s
    while time.perf_counter() < give_up_at:
        _finish(device)
        began = time.perf_counter()
        work()
        _finish(device)
        best = min(best, time.perf_counter() - began)
    return best


def _finish(device: Any) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
