"""Pictures coloured by similarity: colours that everyone can order, the marked pixel, the legend, errors."""

import numpy as np
import pytest

from dense.errors import DataError
from dense.visualization.similarity import draw_similarity, similarity_colors

# Machado et al. 2009, severity 1, on linear RGB.
DEUTERANOPIA = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
PROTANOPIA = np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]])


@pytest.mark.parametrize("vision", [np.eye(3), DEUTERANOPIA, PROTANOPIA])
def test_similarity_colors__any_vision__luminance_rises_all_the_way(vision):
    """Catches a map that only hue orders, which a colour-blind reader (or a grey print) cannot read."""
    colors = similarity_colors(np.linspace(0, 1, 101)) / 255
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    luminance = (linear @ vision.T).clip(0, 1) @ np.array([0.2126, 0.7152, 0.0722])
    assert np.all(np.diff(luminance) > 0)
    assert luminance[-1] - luminance[0] > 0.7


def test_draw_similarity__two_halves__coloured_marked_and_with_a_legend():
    """Catches x and y exchanged, a map drawn upside down, and an input that is written into."""
    image = np.full((120, 200, 3), 90, np.uint8)
    similarity = np.where(np.arange(200)[None] < 100, 0.9, -0.3) * np.ones((120, 1))
    drawn = draw_similarity(image, similarity, (150, 20), title="res4 (150, 20)", alpha=1.0)
    assert drawn.shape[0] > 120
    assert drawn.shape[1:] == (200, 3)
    assert np.array_equal(drawn[60, 30], similarity_colors(np.array(1.0)))
    assert np.array_equal(drawn[60, 120], similarity_colors(np.array(0.0)))
    ring = (drawn[:120] == 0).all(axis=2) | (drawn[:120] == 255).all(axis=2)
    rows, columns = np.nonzero(ring)
    assert abs(rows.mean() - 20) < 0.5
    assert abs(columns.mean() - 150) < 0.5
    assert np.ptp(rows) < 15
    assert not ring[20, 150]  # the pixel itself stays visible
    assert (drawn[120:] == similarity_colors(np.array(1.0))).all(axis=2).any()  # end of the colour bar
    assert np.array_equal(image, np.full_like(image, 90))


def test_draw_similarity__given_span__same_colours_in_every_picture():
    """Catches a span that is ignored: a cosine of 0 between -1 and 1 is the middle of the colours."""
    drawn = draw_similarity(np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40)), (2, 2), span=(-1, 1), alpha=1.0)
    assert np.array_equal(drawn[30, 30], similarity_colors(np.array(0.5)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((8, 9), np.uint8)}, r"image: is uint8 \(8, 9\)"),
        ({"similarity": np.zeros((9, 8))}, r"similarity: \(9, 8\), expected \(8, 9\)"),
        ({"pixel": (9, 0)}, r"pixel: \(9, 0\) is outside the picture of 9x8"),
        ({"similarity": np.full((8, 9), np.nan)}, "NaN"),
    ],
)
def test_draw_similarity__wrong_input__one_line(change, message):
    """Catches an IndexError instead of a sentence."""
    given = {"image": np.zeros((8, 9, 3), np.uint8), "similarity": np.zeros((8, 9)), "pixel": (0, 0)} | change
    with pytest.raises(DataError, match=message):
        draw_similarity(given["image"], given["similarity"], given["pixel"])


@pytest.mark.parametrize("size", [(1, 1), (5, 400), (300, 12)])
def test_draw_similarity__odd_sizes__a_picture(size):
    """Catches a legend that does not fit a narrow picture."""
    drawn = draw_similarity(np.zeros((*size, 3), np.uint8), np.ones(size), (0, 0), title="projection (0, 0)")
    assert drawn.shape[1] == size[1]
