"""Geometric transforms: masks must follow their image, and resampling must be Pillow's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from dense.data.transforms import Crop, Flip, Pad, Resize, Rotate, apply_transforms


def _blobs(height=60, width=90, count=3):
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:height, :width]
    centres = rng.uniform(0.2, 0.8, (count, 2)) * (height, width)
    return np.stack([(rows - y) ** 2 + ((columns - x) / 1.7) ** 2 < 12**2 for y, x in centres])


def assert_aligned(image, mask):
    border = ndimage.binary_dilation(mask, np.ones((3, 3))) ^ ndimage.binary_erosion(mask, np.ones((3, 3)), border_value=1)
    assert mask.any()
    assert not ((image[..., 0] > 127) ^ mask)[~border].any()


TRANSFORMS = [
    [Resize(100, 170)],
    [Resize(31, 44)],
    [Resize(60, 45)],
    [Crop(7, 11, 40, 61)],
    [Flip("horizontal")],
    [Flip("vertical")],
    [Pad(80, 100, value=0)],
    [Rotate(13.0, (0.4, 0.6))],
    [Rotate(-40.0)],
    [Resize(80, 120), Crop(5, 9, 64, 100), Flip(), Rotate(7.0, (0.55, 0.45)), Pad(70, 110, value=0), Resize(50, 77)],
]


@pytest.mark.parametrize("transforms", TRANSFORMS, ids=str)
def test_transforms__image_that_is_its_mask__stay_aligned(transforms):
    """A mask moved otherwise than its image by more than one pixel at the border."""
    for mask in _blobs():
        image = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
        changed, masks = apply_transforms(transforms, image, mask[None])
        assert changed.dtype == np.uint8
        assert masks.dtype == np.bool_
        assert_aligned(changed, masks[0])


@pytest.mark.parametrize("transforms", TRANSFORMS, ids=str)
@pytest.mark.parametrize("count", [0, 3])
def test_output_size__any_transform__is_what_comes_out(transforms, count):
    """A stated size that differs from the real one (later draws would be out of bounds), or failure without objects."""
    size = (60, 90)
    for transform in transforms:
        size = transform.output_size(size)
    image, masks = apply_transforms(transforms, np.zeros((60, 90, 3), np.uint8), _blobs()[:count])
    assert image.shape == (*size, 3)
    assert masks.shape == (count, *size)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**31))
def test_resize_masks__any_lengths__equals_pillow_nearest(source, target, seed):
    """Index arithmetic that rounds ties otherwise than Pillow's nearest filter."""
    mask = np.random.default_rng(seed).uniform(size=(3, source)) < 0.5
    expected = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize((target, 5), Image.Resampling.NEAREST)) > 0
    np.testing.assert_array_equal(Resize(5, target).apply_masks(mask[None])[0], expected)


def test_rotate__quarter_turn_of_a_square__equals_rot90():
    """Wrong direction or a centre that is half a pixel off."""
    rng = np.random.default_rng(0)
    masks = rng.uniform(size=(2, 32, 32)) < 0.5
    np.testing.assert_array_equal(Rotate(90.0).apply_masks(masks), np.rot90(masks, axes=(1, 2)))
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Rotate(90.0).apply_image(image), np.rot90(image))


def test_pad__smaller_frame__keeps_pixels_at_the_upper_left():
    """Padding on the wrong side, or true masks outside the frame."""
    image, mask = np.full((2, 3, 3), 9, np.uint8), np.ones((1, 2, 3), bool)
    padded, masks = apply_transforms([Pad(4, 5, value=128)], image, mask)
    assert (padded[:2, :3] == 9).all()
    assert (padded[2:] == 128).all()
    assert (padded[:, 3:] == 128).all()
    assert masks.sum() == 6
