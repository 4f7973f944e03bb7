"""Colours: stable, distinct, and apart for colour-blind eyes."""

import numpy as np
import pytest

from dense.visualization.palette import PALETTE, contrast_ink, hex_color, track_color

# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
TO_LMS = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_OKLAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def linear(colors):
    part = np.asarray(colors, float) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def smallest_distance(colors, sight):
    """Smallest OKLab distance between two of ``colors`` as seen through ``sight`` (3, 3)."""
    seen = np.clip(linear(colors) @ np.array(sight).T, 0, 1)
    lab = np.cbrt(seen @ np.array(TO_LMS).T) @ np.array(TO_OKLAB).T
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    return distance[~np.eye(len(colors), dtype=bool)].min()


@pytest.mark.parametrize(("sight", "least"), [(np.eye(3), 0.08), (PROTANOPIA, 0.06), (DEUTERANOPIA, 0.06)])
def test_palette__each_kind_of_sight__colors_stay_apart(sight, least):
    """Catches a table entry changed to one that looks like another, for somebody."""
    assert len(PALETTE) >= 24
    assert smallest_distance(PALETTE, sight) >= least


def test_track_color__first_ids__take_the_table():
    """Catches a colour that depends on anything but the id, and an off-by-one in the table."""
    assert [track_color(i) for i in range(len(PALETTE))] == list(PALETTE)
    assert track_color(np.int64(5)) == track_color(5) == PALETTE[5]


def test_track_color__hundreds_of_ids__all_distinct_and_in_range():
    """Catches colours repeating beyond the table, and channels outside 0 to 255."""
    colors = [track_color(i) for i in range(-24, 480)]
    assert len(set(colors)) == len(colors)
    assert min(map(min, colors)) >= 0
    assert max(map(max, colors)) <= 255


def test_track_color__not_an_integer__raises():
    """Catches a float id silently rounded into another track's colour."""
    with pytest.raises(TypeError):
        track_color(1.5)


@pytest.mark.parametrize("color", [*PALETTE, (0, 0, 0), (255, 255, 255)])
def test_contrast_ink__every_color__ratio_at_least_4(color):
    """Catches white text on yellow: WCAG contrast of label text against its chip."""
    weights = [0.2126, 0.7152, 0.0722]
    one, two = sorted((linear(c) @ weights for c in (color, contrast_ink(color))), reverse=True)
    assert (one + 0.05) / (two + 0.05) >= 4.0


def test_hex_color__small_parts__two_digits_each():
    """Catches a missing leading zero."""
    assert hex_color((5, 180, 0)) == "#05b400"
