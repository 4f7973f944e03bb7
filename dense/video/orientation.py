"""Turning pictures upright: EXIF orientation of photos and display matrix of videos, as one of eight turns."""

from typing import NamedTuple

import numpy as np

__all__ = ["UPRIGHT", "Turn", "turn_from_display_matrix", "turn_from_exif", "turn_upright"]


class Turn(NamedTuple):
    """First exchange rows and columns, then mirror left-right (``mirror_x``), then top-bottom (``mirror_y``)."""

    transpose: bool
    mirror_x: bool
    mirror_y: bool

    @property
    def degrees(self) -> int:
        """Clockwise rotation in degrees (0, 90, 180, 270) when the turn is a pure rotation; of its rotation part otherwise."""
        if self.transpose:
            return 90 if self.mirror_x else 270
        return 180 if self.mirror_y else 0


UPRIGHT = Turn(False, False, False)

# EXIF 2.32, tag 274: where the stored first row and first column lie on the upright picture.
_EXIF = {
    1: UPRIGHT,
    2: Turn(False, True, False),
    3: Turn(False, True, True),
    4: Turn(False, False, True),
    5: Turn(True, False, False),
    6: Turn(True, True, False),
    7: Turn(True, True, True),
    8: Turn(True, False, True),
}


def turn_from_exif(orientation: object) -> Turn:
    """The turn that makes a photo upright; anything but 1 to 8 (broken EXIF) means as stored."""
    return _EXIF.get(orientation, UPRIGHT) if isinstance(orientation, int) else UPRIGHT


def turn_from_display_matrix(data: bytes) -> Turn | None:
    """The turn that a video's display matrix asks for.

    Args:
        data: nine native int32, row by row ``a b u / c d v / x y w`` (libavutil/display.h): a stored point (p, q) is shown
            at ``(a p + c q, b p + d q)``, y downwards.

    Returns: the turn, or None when the matrix is no multiple of 90 degrees (a tilted or degenerate matrix).
    """
    if len(data) < 36:
        return None
    a, b, _, c, d = (float(value) for value in np.frombuffer(data[:20], np.int32))
    small = 0.02 * max(abs(a), abs(b), abs(c), abs(d), 1.0)  # about one degree
    if abs(b) <= small and abs(c) <= small and min(abs(a), abs(d)) > small:
        return Turn(False, a < 0, d < 0)
    if abs(a) <= small and abs(d) <= small and min(abs(b), abs(c)) > small:
        return Turn(True, c < 0, b < 0)
    return None


def turn_upright(image: np.ndarray, turn: Turn) -> np.ndarray:
    """Apply a turn to ``(H, W, …)``; contiguous ``(H, W, …)`` or ``(W, H, …)``."""
    if turn.transpose:
        image = image.swapaxes(0, 1)
    if turn.mirror_x:
        image = image[:, ::-1]
    if turn.mirror_y:
        image = image[::-1]
    return np.ascontiguousarray(image)
