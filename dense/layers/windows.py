"""Windows over a map of tokens: partition, shift, and relative positions inside a window (Swin Transformer, §3.2).

Windows are square where a side is given, of any shape where ``(rows, columns)`` is.
"""

import torch
from torch import Tensor

__all__ = ["join_windows", "relative_position_index", "shifted_window_mask", "split_windows"]

BLOCKED = -100.0  # added to the attention of two tokens that the cyclic shift has put side by side; the reference's number


def split_windows(tokens: Tensor, window: int | tuple[int, int]) -> Tensor:
    """Cut a map into windows, row by row.

    Args:
        tokens: ``(B, H, W, C)``; both sides multiples of the window's.
        window: side of a window, or its rows r and columns c, tokens.

    Returns: ``(B·n, r·c, C)``, n windows per map.
    """
    rows, columns = (window, window) if isinstance(window, int) else window
    grid = tokens.unflatten(2, (-1, columns)).unflatten(1, (-1, rows))
    return grid.transpose(2, 3).reshape(-1, rows * columns, tokens.shape[-1])


def join_windows(windows: Tensor, height: int, width: int, window: tuple[int, int] | None = None) -> Tensor:
    """Undo ``split_windows``.

    Args:
        windows: ``(B·n, r·c, C)``.
        height: rows of the map.
        width: columns of the map.
        window: rows r and columns c of a window; ``None`` = a square.

    Returns: ``(B, H, W, C)``.
    """
    rows, columns = window or (round(windows.shape[1] ** 0.5),) * 2
    grid = windows.view(-1, height // rows, width // columns, rows, columns, windows.shape[-1])
    return grid.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def relative_position_index(window: int) -> Tensor:
    """``(window², window²)`` int64: row of the bias table, ``(dy + w − 1)(2w − 1) + dx + w − 1``, d = query minus key."""
    steps = torch.arange(window)
    rows, columns = (axis.flatten() for axis in torch.meshgrid(steps, steps, indexing="ij"))
    dy = rows[:, None] - rows[None] + window - 1
    dx = columns[:, None] - columns[None] + window - 1
    return dy * (2 * window - 1) + dx


def shifted_window_mask(height: int, width: int, window: int, shift: int, like: Tensor) -> Tensor:
    """What to add to the attention logits inside the windows of a map that was rolled by ``−shift`` on both axes.

    Args:
        height: rows of the padded map, a multiple of ``window``.
        width: columns of the padded map.
        window: side of a window, tokens.
        shift: tokens, 0 < shift < window.
        like: gives device and type.

    Returns: ``(n, window², window²)``: 0 for tokens that were neighbours before the roll, −100 for others.
    """
    rows, columns = (_bands(size, window, shift, like.device) for size in (height, width))
    labels = split_windows((rows[:, None] * 3 + columns)[None, :, :, None], window)[..., 0]  # (n, window²)
    differ = labels[:, :, None] != labels[:, None, :]
    return torch.zeros(differ.shape, dtype=like.dtype, device=like.device).masked_fill(differ, BLOCKED)


def _bands(size: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Band of each position along one axis: 0 before the last window, 1 in its unshifted part, 2 in what came round."""
    position = torch.arange(size, device=device)
    return (position >= size - window).long() + (position >= size - shift).long()
