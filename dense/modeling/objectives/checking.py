"""What an objective refuses, with the argument and shape in the message."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dense.errors import DataError, NonFiniteError

__all__ = ["NORM_FLOOR", "check_flags", "check_mask", "check_views", "check_weights", "unit_rows"]

NORM_FLOOR = 1e-12


def check_views(views: Sequence[Tensor], name: str, least: int, most: int | None) -> None:
    """Make sure that the views are matrices of one shape, and as many as the objective ``name`` takes.

    Raises: DataError for their number, a shape or type.
    """
    if len(views) < least or (most is not None and len(views) > most):
        number = f"{least}" if most == least else f"{least} or more" if most is None else f"{least} to {most}"
        raise DataError(f"views: {len(views)} given, {name} takes {number}.")
    for v, view in enumerate(views):
        if view.ndim != 2 or not view.is_floating_point():
            raise DataError(f"views[{v}]: {view.dtype} {tuple(view.shape)}, expected floating-point rows (B, D).")
        if view.shape != views[0].shape:
            raise DataError(
                f"views[{v}]: shape {tuple(view.shape)}, but views[0] has {tuple(views[0].shape)}; rows are the same samples."
            )


def unit_rows(rows: Tensor, where: str, normalise: bool = True, counted: Tensor | None = None) -> Tensor:
    """Rows of unit length, in float32 at least.

    Args:
        rows: ``(B, D)``.
        where: name for messages.
        normalise: False = the rows are unit rows already; they are still checked for finite values.
        counted: ``(B,)`` bool, rows that must not be zero (default all).

    Raises: NonFiniteError, or DataError for a zero row; both name the row.
    """
    wide = rows if rows.dtype == torch.float64 else rows.float()
    norms = torch.linalg.vector_norm(wide.detach(), dim=1)
    zero = norms < NORM_FLOOR if counted is None else (norms < NORM_FLOOR) & counted
    if bool((zero | ~norms.isfinite()).any()):
        _refuse(wide.detach(), zero, where)
    return torch.nn.functional.normalize(wide, dim=1, eps=NORM_FLOOR) if normalise else wide


def _refuse(rows: Tensor, zero: Tensor, where: str) -> None:
    broken = torch.nonzero(~rows.isfinite().all(1)).flatten()
    if len(broken):
        raise NonFiniteError(
            f"{where}: row {int(broken[0])} of {len(rows)} has NaN or infinite values. Lower the learning rate?"
        )
    if bool(zero.any()):
        row = int(torch.nonzero(zero)[0])
        raise DataError(
            f"{where}: row {row} of {len(rows)} is zero and has no direction. Mask it, or look for a dead projector."
        )
    raise NonFiniteError(f"{where}: the length of a row is beyond {rows.dtype}. Lower the learning rate?")


def check_weights(weights: Tensor | None, like: Tensor) -> Tensor:
    """``(B,)`` sample weights in the type of ``like`` ``(B, D)``; ones by default. Raises: DataError naming shape or row."""
    if weights is None:
        return like.new_ones(len(like))
    if weights.shape != (len(like),):
        raise DataError(f"weights: shape {tuple(weights.shape)}, expected ({len(like)},), one per sample.")
    good = weights.isfinite() & (weights >= 0)
    if not bool(good.all()):
        row = int(torch.nonzero(~good)[0])
        raise DataError(f"weights: {float(weights[row])} at row {row}, expected finite numbers of 0 or more.")
    return weights.detach().to(like)


def check_flags(flags: Tensor, name: str, shape: tuple[int, ...]) -> None:
    """Raise DataError unless ``flags`` are booleans of this shape."""
    if flags.dtype != torch.bool or flags.shape != shape:
        raise DataError(f"{name}: {flags.dtype} {tuple(flags.shape)}, expected bool {shape}.")


def check_mask(mask: Tensor, rows: int, columns: int, first: int) -> None:
    """Make sure that a mask has one row per own sample, one column per sample, and keeps the positives.

    Args:
        mask: True = keep.
        rows: B of this process.
        columns: B of all processes.
        first: column of this process's first sample.

    Raises: DataError.
    """
    check_flags(mask, "mask", (rows, columns))
    own = mask.diagonal(first)
    if not bool(own.all()):
        row = int(torch.nonzero(~own)[0])
        raise DataError(f"mask: row {row} leaves out its own positive, column {first + row}. True means keep.")
