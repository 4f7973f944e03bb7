"""Views for pretraining: golden crops and coordinates, where their pixels lie, how often what is drawn."""

import random
from pathlib import Path

import numpy as np
import pytest
import torchvision.transforms.functional as peer
from PIL import Image, ImageFilter

from dense.data.transforms.view_pixels import change_colours, render_view, resize_crop
from dense.data.transforms.views import (
    VIEW_MODES,
    ColourRecipe,
    CropBox,
    Jitter,
    ViewPlan,
    crop_coordinates,
    draw_crop,
    draw_view,
)

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "pixpro_views.npz"
SIZES = ("500x375", "333x500", "64x64", "640x20", "30x900", "1x1")
WHOLE = CropBox(0, 0, 32, 32)


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN)


@pytest.fixture
def picture():
    """Smooth colours, ``(32, 32, 3)``."""
    low = np.random.default_rng(3).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(low).resize((32, 32), Image.Resampling.BICUBIC))


@pytest.mark.golden
@pytest.mark.parametrize("number", range(len(SIZES)))
@pytest.mark.parametrize("least", ["0.08", "0.2"])
def test_draw_crop__pythons_random__reference_boxes(golden, number, least):
    """Catches another order of draws, another rounding, another fallback."""
    source = random.Random(int(golden["crop.random_seeds"][number]))
    width, height = map(int, SIZES[number].split("x"))
    boxes = [draw_crop((height, width), (float(least), 1.0), source) for _ in range(16)]
    wanted = golden[f"crop.size{SIZES[number]}.min{least}"]
    assert [(b.top, b.left, b.height, b.width) for b in boxes] == [tuple(row) for row in wanted.tolist()]


@pytest.mark.golden
@pytest.mark.parametrize(("key", "flips"), [("plain", (0, 0)), ("hflip", (1, 0)), ("vflip", (0, 1)), ("hvflip", (1, 1))])
def test_crop_coordinates__reference_boxes__reference_vectors(golden, key, flips):
    """Catches a division by the size instead of size - 1, and flips on the wrong axis."""
    for (i, j, h, w, height, width), wanted in zip(golden["coord.boxes_ijhwHW"].tolist(), golden[f"coord.{key}"], strict=True):
        found = crop_coordinates(CropBox(i, j, h, w), (height, width), bool(flips[0]), bool(flips[1]))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.golden
def test_resize_crop__reference_picture__within_one_level(golden):
    """Catches resizing without antialiasing, and a filter that sees pixels outside of the crop."""
    image = np.repeat(np.repeat(golden["resize.source_low"], 6, 0), 5, 1)
    found = resize_crop(image, CropBox(7, 11, 40, 50), 24)
    assert np.abs(found.astype(int) - golden["resize.out_24"].astype(int)).max() <= 1
    np.testing.assert_allclose(crop_coordinates(CropBox(7, 11, 40, 50), image.shape[:2]), golden["resize.coord"], atol=1e-6)


def test_render_view__1000_crops_and_flips__pixels_lie_where_recorded():
    """Catches coordinates of another box, flip or axis than that of the pixels: the picture's values are its positions.

    Values are 4 levels a pixel, so rounding adds up to 1 level (ours and Pillow's) = 1/4 pixel to the half pixel.
    """
    rng = np.random.default_rng(0)
    side, recipe, flipped = 16, ColourRecipe(), 0
    for _ in range(1000):
        height, width = (int(n) for n in rng.integers(8, 62, 2))
        rows, columns = np.mgrid[:height, :width].astype(np.uint8) * 4
        image = np.stack([columns, rows, rows], 2)
        plan = draw_view((height, width), (0.08, 1.0), recipe, (0.1, 2.0), rng)
        flipped += plan.hflip
        view = render_view(image, plan, side).astype(float)[1:-1, 1:-1] / 4  # the filter is one-sided at the border
        x1, y1, x2, y2 = plan.coordinates((height, width)).astype(float)
        centres = (np.arange(side) + 0.5)[1:-1] / side
        x, y = (x1 + centres * (x2 - x1)) * (width - 1), (y1 + centres * (y2 - y1)) * (height - 1)
        assert np.abs(view[..., 0] - x[None, :]).max() < 0.75
        assert np.abs(view[..., 1] - y[:, None]).max() < 0.75
    assert 420 < flipped < 580


def test_render_view__exact_arithmetic__recorded_centres_within_half_a_pixel():
    """Catches a bound that rounding hides: exact resampling positions and recorded ones, 1,000 crops, no pixels."""
    rng = np.random.default_rng(1)
    side = 7
    for _ in range(1000):
        size = tuple(int(n) for n in rng.integers(2, 900, 2))
        plan = draw_view(size, (0.08, 1.0), ColourRecipe(), (0.1, 2.0), rng)
        exact = plan.box.left + (np.arange(side) + 0.5) * plan.box.width / side - 0.5
        x1, _, x2, _ = plan.coordinates(size).astype(float)
        recorded = (x1 + (np.arange(side) + 0.5) / side * (x2 - x1)) * (size[1] - 1)
        assert np.abs(recorded - (exact[::-1] if plan.hflip else exact)).max() < 0.5 + 1e-4


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_resize_crop__reduced_picture__shows_the_same_part(scale):
    """Catches crops of a reduced decoding that are off by part of a reduced pixel (1 of 8 pixels would be seen)."""
    height, width, side = 1203, 1597, 16  # no multiples: the last reduced pixel covers less
    columns = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    padded = np.pad(columns, ((0, -height % scale), (0, -width % scale)), mode="edge")
    reduced = padded.reshape(padded.shape[0] // scale, scale, padded.shape[1] // scale, scale).mean((1, 3))
    picture = np.stack([np.floor(reduced + rounding) for rounding in (0.0, 1 / 3, 2 / 3)], 2).astype(np.uint8)
    for box in (CropBox(101, 203, 900, 1001), CropBox(0, 0, height, width), CropBox(3, 597, 1200, 1000)):
        view = resize_crop(picture, box, side, scale)[2:-2, 2:-2].astype(float) / 255 * (width - 1)
        exact = box.left + (np.arange(side) + 0.5)[2:-2] * box.width / side - 0.5
        shift = view.mean((0, 2)) - exact + 1 / 6 * (width - 1) / 255  # flooring takes 1/6 level on average
        assert abs(shift.mean()) < 1.5, shift  # pixels; half a level is 3


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_change_colours__one_jitter__as_torchvision(picture, kind, factor):
    """Catches factors of the wrong operation, a hue of the wrong unit or sign, a contrast about the wrong mean."""
    value = factor if kind < 3 else (factor - 1) / 3
    factors = [1.0, 1.0, 1.0, 0.0]
    factors[kind] = value
    order = (kind, *(k for k in range(4) if k != kind))
    found = change_colours(picture, ViewPlan(WHOLE, False, Jitter(tuple(factors), order)))
    change = (peer.adjust_brightness, peer.adjust_contrast, peer.adjust_saturation, peer.adjust_hue)[kind]
    difference = np.abs(found.astype(int) - np.asarray(change(Image.fromarray(picture), value)).astype(int))
    assert np.abs(found.astype(int) - picture.astype(int)).mean() > 4
    assert difference.mean() < (1.5 if kind == 3 else 0.8)  # of hue and saturation both keep one byte
    assert difference.max() <= (12 if kind == 3 else 2)


def test_change_colours__blur_grey_solarize__as_pillow(picture):
    """Catches a radius that is no standard deviation, weights of grey in the order BGR, a threshold off by one."""
    blurred = change_colours(picture, ViewPlan(WHOLE, False, sigma=1.5)).astype(int)
    wanted = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1.5))).astype(int)
    assert np.abs(blurred - wanted).max() <= 4
    grey = change_colours(picture, ViewPlan(WHOLE, False, grey=True)).astype(int)
    assert np.abs(grey - np.asarray(Image.fromarray(picture).convert("L"))[..., None]).max() <= 1
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)[..., None].repeat(3, 2)
    solarized = change_colours(ramp, ViewPlan(WHOLE, False, solarize=True))
    np.testing.assert_array_equal(solarized, np.asarray(peer.solarize(Image.fromarray(ramp), 128)))


def test_change_colours__rand_augment__from_its_seed_and_nothing_else(picture):
    """Catches draws from the state of the process, and a state that is left changed."""
    plan = ViewPlan(WHOLE, False, rand_augment=7)
    random.seed(1)
    first = change_colours(picture, plan)
    after = random.random()
    random.seed(1)
    assert random.random() == after
    np.testing.assert_array_equal(change_colours(picture, plan), first)
    others = [change_colours(picture, ViewPlan(WHOLE, False, rand_augment=seed)) for seed in range(8)]
    assert any((other != first).any() for other in others)


@pytest.mark.parametrize("mode", VIEW_MODES)
def test_draw_view__20000_draws__chances_of_each_view_within_three_sigma(mode):
    """Catches view 2 that is blurred as often as view 1, and draws that hang together."""
    rng, count = np.random.default_rng(5), 20_000
    wanted = {
        "BYOL": ((0.8, 0.2, 1.0, 0.0), (0.8, 0.2, 0.1, 0.2)),
        "InstDisc": ((1.0, 0.2, 0.0, 0.0),) * 2,
        "MoCov2": ((0.8, 0.2, 0.5, 0.0),) * 2,
        "SimCLR": ((0.8, 0.2, 0.5, 0.0),) * 2,
        "RandAug": ((0.8, 0.2, 0.5, 0.0),) * 2,
        "NULL": ((0.0, 0.0, 0.0, 0.0),) * 2,
    }[mode]
    for recipe, chances in zip(VIEW_MODES[mode], wanted, strict=True):
        plans = [draw_view((48, 64), (0.2, 1.0), recipe, (0.1, 2.0), rng) for _ in range(count)]
        drawn = np.array([(p.hflip, p.jitter is not None, p.grey, p.sigma > 0, p.solarize) for p in plans])
        for found, chance in zip(drawn.mean(0), (0.5, *chances), strict=True):
            assert abs(found - chance) <= 3 * np.sqrt(chance * (1 - chance) / count) + 1e-12
        if 0 < chances[0] < 1 and 0 < chances[1] < 1:
            correlation = np.corrcoef(drawn[:, 1], drawn[:, 2])[0, 1]
            assert abs(correlation) < 4 / np.sqrt(count)
        assert all((p.rand_augment is not None) == (mode == "RandAug") for p in plans)
        sigmas = [p.sigma for p in plans if p.sigma]
        assert not sigmas or (min(sigmas) >= 0.1 and max(sigmas) <= 2.0 and abs(np.mean(sigmas) - 1.05) < 0.06)
        ranges = recipe.jitter
        factors = np.array([p.jitter.factors for p in plans if p.jitter])
        for k in range(4 if len(factors) else 0):
            centre = 0.0 if k == 3 else 1.0
            assert np.abs(factors[:, k] - centre).max() <= ranges[k]
            assert np.abs(factors[:, k] - centre).max() > 0.98 * ranges[k]
