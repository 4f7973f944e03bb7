"""Multi-scale deformable attention: our compiled operator beside plain PyTorch (one ``grid_sample`` per level).

The size is that of a pixel decoder on a 360 x 640 frame: levels of stride 8, 16, 32, every pixel a query. Where a GPU and the
CUDA kernels are, the same there, in float32 and float16.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.case import Case
from dense.errors import OperatorError
from dense.ops import library, ms_deform_attn, ms_deform_attn_reference, status

__all__ = ["cases"]

_SHAPES = ((45, 80), (23, 40), (12, 20))
_HEADS, _CHANNELS, _POINTS = 8, 32, 4
_PEER = "plain PyTorch"


def cases() -> list[Case]:
    """Forward, and forward with backward.

    Raises: OperatorError if the compiled operator is not in use: the figures would be those of the fallback.
    """
    if not status().loaded:
        raise OperatorError(f"ops.ms_deform_attn: {status().reason}. Expected the compiled operator: python -m dense build-ops")
    found = _cases("cpu", torch.float32)
    if torch.cuda.is_available():
        if not library.has_kernel("ms_deform_attn", "cuda:0"):
            raise OperatorError(
                f"ops.ms_deform_attn: CUDA kernels: {status().cuda}. Build: DENSE_CUDA=1 python -m dense build-ops"
            )
        found += _cases("cuda", torch.float32) + _cases("cuda", torch.float16)
    return found


def _cases(device: str, dtype: torch.dtype) -> list[Case]:
    value, shapes, locations, weights = (t.to(device, dtype) if t.is_floating_point() else t for t in _arguments())
    grad_output = torch.randn(1, value.shape[1], _HEADS * _CHANNELS).to(device, dtype)
    leaves = [tensor.clone().requires_grad_() for tensor in (value, locations, weights)]
    read, written = value.nbytes + locations.nbytes + weights.nbytes, grad_output.nbytes
    multiply_adds = 4 * weights.numel() * _CHANNELS  # four pixels under each sample
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None

    def forward(function: Callable[..., Tensor]) -> Callable[[], object]:
        def run() -> object:
            output = function(value, shapes, locations, weights)
            wait()
            return (output,)

        return run

    def both(function: Callable[..., Tensor]) -> Callable[[], object]:
        def run() -> object:
            output = function(leaves[0], shapes, leaves[1], leaves[2])
            results = output.detach(), *torch.autograd.grad(output, leaves, grad_output)
            wait()
            return results

        return run

    size = f"S=Q={value.shape[1]} M={_HEADS} C={_CHANNELS} P={_POINTS}"
    where = "" if device == "cpu" else f" {device} {str(dtype).removeprefix('torch.')}"
    agree = _agree if dtype == torch.float32 else _agree_in_half
    return [
        Case(
            f"ms_deform_attn forward {size}{where}",
            forward(ms_deform_attn),
            {_PEER: forward(ms_deform_attn_reference)},
            agree,
            read + written,
            2 * multiply_adds,
            device,
            *((5.0, 4.0) if device == "cpu" else ()),
        ),
        Case(  # backward: a product with the value and an addition to its gradient, per pixel and channel
            f"ms_deform_attn forward+backward {size}{where}",
            both(ms_deform_attn),
            {_PEER: both(ms_deform_attn_reference)},
            agree,
            (read + written) + (read + written) + read,
            6 * multiply_adds,
            device,
            *((4.0, 4.0) if device == "cpu" else ()),
        ),
    ]


def _arguments() -> list[Tensor]:
    """Each pixel looks a few pixels around itself, on every level."""
    torch.manual_seed(0)
    shapes = torch.tensor(_SHAPES)
    centres = []
    for height, width in _SHAPES:
        y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
        centres.append(torch.stack([x, y], -1).flatten(0, 1))
    references = torch.cat(centres)[None, :, None, None, None]  # (1, Q, 1, 1, 1, 2)
    queries = references.shape[1]
    offsets = 2 * torch.randn(1, queries, _HEADS, len(_SHAPES), _POINTS, 2) / shapes.flip(1)[:, None]
    weights = torch.rand(1, queries, _HEADS, len(_SHAPES) * _POINTS).softmax(-1).unflatten(-1, (len(_SHAPES), _POINTS))
    return [torch.randn(1, queries, _HEADS, _CHANNELS), shapes, references + offsets, weights]


def _agree(ours: object, theirs: object) -> None:
    for one, other in zip(ours, theirs, strict=True):
        worst = float((one - other).abs().max() / other.abs().max())
        assert worst < 2e-5, f"ours and the peer's differ by {worst:.1e} of the largest value"


def _agree_in_half(ours: object, theirs: object) -> None:
    """The peer computes in half precision, too: a few of its samples fall on the other side of a pixel's border."""
    for one, other in zip(ours, theirs, strict=True):
        mean = float((one.float() - other.float()).abs().mean() / other.float().abs().mean())
        assert mean < 5e-2, f"ours and the peer's differ by {mean:.1e} on average"
