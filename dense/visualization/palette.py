"""One colour per track: a fixed table chosen to stay apart for colour-blind eyes too, and variations of it beyond the table."""

import operator

__all__ = ["PALETTE", "contrast_ink", "hex_color", "track_color"]

RGB = tuple[int, int, int]

# Found by greedy search: the first eight by hand (a calm start), the rest each as far as possible from all before it, in
# OKLab, for normal vision and for simulated protanopia and deuteranopia (Machado et al. 2009). Smallest distance between two
# entries: 0.086 normal, 0.064 simulated; about 0.02 is just noticeable. Lightness differs, since that is what all eyes share.
PALETTE: tuple[RGB, ...] = (
    (45, 130, 240),
    (245, 130, 20),
    (20, 160, 105),
    (200, 35, 60),
    (250, 210, 60),
    (150, 70, 140),
    (90, 205, 245),
    (245, 130, 185),
    (55, 255, 200),
    (200, 100, 0),
    (60, 210, 120),
    (60, 80, 235),
    (245, 90, 95),
    (155, 35, 190),
    (125, 110, 195),
    (130, 150, 255),
    (140, 240, 255),
    (175, 115, 160),
    (185, 230, 140),
    (120, 220, 190),
    (250, 170, 15),
    (5, 180, 215),
    (160, 90, 105),
    (90, 175, 150),
)

_GOLDEN = 0.6180339887498949


def track_color(track_id: int) -> RGB:
    """Colour of a track: a function of its id alone, so it never changes through a video or between runs.

    Args:
        track_id: any integer. Ids 0 to 23 take the table; later rounds are lighter or darker variations of it.

    Returns: ``(red, green, blue)``, 0 to 255.
    Raises: TypeError if ``track_id`` is no integer.
    """
    turn, slot = divmod(operator.index(track_id), len(PALETTE))
    base = PALETTE[slot]
    if turn == 0:
        return base
    # Multiples of the golden ratio never repeat and fill [-0.5, 0.5) evenly: below 0 darker, above 0 lighter.
    shift = (turn * _GOLDEN) % 1.0 - 0.5
    goal, amount = (255, 0.1 + 0.9 * shift) if shift >= 0 else (0, 0.1 - 0.9 * shift)
    red, green, blue = (round(part + (goal - part) * amount) for part in base)
    return red, green, blue


def contrast_ink(color: RGB) -> RGB:
    """Near-black or white, whichever reads better on ``color`` (WCAG contrast ratio)."""
    red, green, blue = (_linear(part / 255) for part in color)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    on_white = 1.05 / (luminance + 0.05)
    on_dark = (luminance + 0.05) / (0.008 + 0.05)
    return (255, 255, 255) if on_white > on_dark else (20, 20, 24)


def hex_color(color: RGB) -> str:
    """``(45, 130, 240)`` -> ``"#2d82f0"``."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
