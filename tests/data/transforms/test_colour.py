"""Colour augmentation against Pillow's enhancers and closed forms."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from dense.data.transforms import ClipColour, ColourBlend

IMAGE = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("weight", [0.5, 0.9, 1.1, 1.6])
@pytest.mark.parametrize(("name", "enhancer"), [("brightness", ImageEnhance.Brightness), ("saturation", ImageEnhance.Color)])
def test_colour_blend__brightness_and_saturation__agree_with_pillow(name, enhancer, weight):
    """A wrong reference image, or overflow instead of clipping."""
    expected = np.asarray(enhancer(Image.fromarray(IMAGE)).enhance(weight)).astype(int)
    actual = ColourBlend(name, weight).apply_image(IMAGE).astype(int)
    assert np.abs(actual - expected).max() <= 1  # Pillow's grey is rounded before blending


def test_colour_blend__contrast__scales_distances_to_the_mean():
    """A reference other than the mean."""
    image = np.repeat(np.asarray([[[90], [100], [110]]], np.uint8), 3, axis=2)
    np.testing.assert_array_equal(ColourBlend("contrast", 1.5).apply_image(image)[0, :, 0], [85, 100, 115])


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colour_blend__weight_one__changes_nothing(name):
    """Loss by rounding."""
    np.testing.assert_array_equal(ColourBlend(name, 1.0).apply_image(IMAGE), IMAGE)


@pytest.mark.parametrize(("by_clip", "distinct"), [(True, 1), (False, 6)])
def test_clip_colour__by_clip_or_not__draws_once_or_per_frame(by_clip, distinct):
    """Flicker in clips that should share their colours, and the reverse."""
    drawn = ClipColour("contrast", (0.9, 1.1), by_clip).sample([(4, 4)] * 6, np.random.default_rng(0))
    weights = {transforms[0].weight for transforms in drawn}
    assert len(weights) == distinct
    assert all(0.9 <= weight <= 1.1 for weight in weights)
