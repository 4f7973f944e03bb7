"""NT-Xent and CLIP forward and backward, in blocks of columns beside dense: the same numbers, a fraction of the memory."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.case import Case
from dense.modeling.objectives import Objective
from dense.modeling.objectives.clip import CLIP
from dense.modeling.objectives.infonce import InfoNCE

__all__ = ["cases"]

_DIM, _CHUNK = 128, 512
_BATCHES = (1024, 2048, 4096, 8192)


def cases() -> list[Case]:
    """Both objectives at 1,024 to 8,192 samples of 128 dimensions."""
    return [make(size) for make in (_ntxent, _clip) for size in _BATCHES]


def _ntxent(size: int) -> Case:
    # Published promise: below an eighth of the dense memory at 8,192 samples; small batches are dominated by the rows.
    return _case("NT-Xent", size, 2 * size, 1, lambda chunk: InfoNCE(chunk_size=chunk), 8.0 if size >= 8192 else 0.0)


def _clip(size: int) -> Case:
    return _case("CLIP", size, size, 2, lambda chunk: CLIP(chunk_size=chunk, learn_temperature=False), 0.0)


def _case(name: str, size: int, rows: int, matrices: int, make: Callable[[int], Objective], smaller: float) -> Case:
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(size, _DIM, generator=generator).requires_grad_() for _ in range(2)]
    blocks, dense = _step(make(_CHUNK), views), _step(make(0), views)
    traffic = 2 * 2 * views[0].nbytes  # each view and its gradient, once
    flops = matrices * 3 * 2 * rows * rows * _DIM  # similarities, then two products in the backward pass
    return Case(f"{name}, B {size}, D {_DIM}", blocks, {"dense": dense}, _agree, traffic, flops, smaller=smaller)


def _step(objective: Objective, views: list[Tensor]) -> Callable[[], list[Tensor]]:
    def run() -> list[Tensor]:
        loss = objective(views).loss
        return [loss.detach(), *torch.autograd.grad(loss, views)]

    return run


def _agree(ours: object, theirs: object) -> None:
    assert isinstance(ours, list)
    assert isinstance(theirs, list)
    for found, expected in zip(ours, theirs, strict=True):
        scale = float(expected.abs().max())
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * scale), (
            f"differ by {float((found - expected).abs().max())}"
        )
