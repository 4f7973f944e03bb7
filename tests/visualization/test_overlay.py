"""Overlays: what may change in a picture, and what must not."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.errors import DataError
from dense.structures import FrameResult
from dense.structures.rle import encode
from dense.visualization import overlay
from dense.visualization.labels import Anchor, font_of, font_size, place_chips
from dense.visualization.overlay import draw_frame, draw_tracks, side_by_side
from dense.visualization.palette import track_color

CATEGORIES = ["cat", "a rather long category name"]


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box_mask(height, width, top, left, bottom, right):
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


def result_of(masks, height, width, ids=None, scores=None):
    ids = list(range(len(masks))) if ids is None else ids
    scores = [0.9] * len(masks) if scores is None else scores
    return FrameResult(0, 0.0, height, width, ids, [0] * len(masks), scores, [encode(m) for m in masks])


def test_draw_frame__mask_without_label__pixels_beyond_outline_unchanged():
    """Catches paint outside the mask: only the anti-aliasing may reach one pixel further."""
    image = picture(96, 128)
    before = image.copy()
    mask = box_mask(96, 128, 30, 40, 60, 90)
    out = draw_frame(image, result_of([mask], 96, 128), CATEGORIES, labels=False)
    near = box_mask(96, 128, 29, 39, 61, 91)
    changed = (out != image).any(axis=2)
    assert np.array_equal(image, before)
    assert not changed[~near].any()
    assert changed[mask].mean() > 0.95


def test_draw_frame__inside_of_mask__is_the_blend_of_picture_and_color():
    """Catches a wrong opacity, swapped channels and a colour other than the track's."""
    image = picture(96, 128)
    mask = box_mask(96, 128, 20, 20, 80, 100)
    out = draw_frame(image, result_of([mask], 96, 128, ids=[7]), CATEGORIES, alpha=0.5, labels=False)
    inner = box_mask(96, 128, 25, 25, 75, 95)
    wanted = 0.5 * image[inner] + 0.5 * np.array(track_color(7))
    assert np.abs(out[inner] - wanted).max() <= 1.5
    edge = out[20, 40:80].astype(int)
    assert np.abs(edge - track_color(7)).max() <= 12  # the outline is opaque


def test_draw_frame__labels__change_only_masks_and_placed_chips(monkeypatch):
    """Catches label text or chips drawn outside the box that placement reserved for them."""
    boxes = []
    place = overlay.place_chips

    def spy(*args):
        chips = place(*args)
        boxes.extend(chip.box for chip in chips)
        return chips

    monkeypatch.setattr(overlay, "place_chips", spy)
    image = picture(192, 320)
    result = result_of([box_mask(192, 320, 90, 150, 130, 200)], 192, 320)
    out = draw_frame(image, result, CATEGORIES, times=True)
    allowed = box_mask(192, 320, 88, 148, 132, 202)
    for left, top, right, bottom in boxes:
        allowed[top:bottom, left:right] = True
    assert len(boxes) == 2
    assert not (out != image).any(axis=2)[~allowed].any()


@pytest.mark.parametrize("labels", [True, False])
def test_draw_frame__no_objects__equal_copy(labels):
    """Catches an empty frame returned as the caller's own array, or changed."""
    image = picture(40, 60)
    for result in (
        result_of([], 40, 60),
        result_of([np.zeros((40, 60))], 40, 60),
        result_of([np.ones((40, 60))], 40, 60, scores=[0.1]),
    ):
        out = draw_frame(image, result, CATEGORIES, labels=labels)
        assert np.array_equal(out, image)
        assert not np.shares_memory(out, image)
        assert out.flags.writeable


def test_draw_frame__read_only_and_strided_input__works():
    """Catches code that needs a writable or contiguous picture."""
    image = picture(80, 120)[::2, ::-2]
    image.flags.writeable = False
    result = result_of([box_mask(40, 60, 5, 5, 30, 30)], 40, 60)
    assert np.array_equal(draw_frame(image, result, CATEGORIES), draw_frame(image.copy(), result, CATEGORIES))


@pytest.mark.parametrize("size", [(1, 1), (2, 500), (16, 16), (17, 31), (500, 3)])
def test_draw_frame__tiny_and_odd_sizes__same_shape(size):
    """Catches a crash where no label fits, or a size rounded to even numbers."""
    image = picture(*size)
    out = draw_frame(image, result_of([np.ones(size)] * 3, *size), CATEGORIES, times=True)
    assert out.shape == image.shape
    assert out.dtype == np.uint8
    assert (out != image).any()


def test_draw_frame__one_pixel_object__stays_visible():
    """Catches small objects vanishing in the blur that makes the outline."""
    image = np.zeros((100, 100, 3), np.uint8)
    out = draw_frame(image, result_of([box_mask(100, 100, 50, 50, 51, 51)], 100, 100), CATEGORIES, labels=False)
    assert np.abs(out[50, 50] - 0.5 * np.array(track_color(0))).max() <= 1.5


def test_draw_frame__small_object_listed_before_large__stays_on_top():
    """Catches painting in list order, which hides small objects under large ones."""
    image = np.zeros((100, 100, 3), np.uint8)
    small, large = box_mask(100, 100, 40, 40, 60, 60), np.ones((100, 100), bool)
    out = draw_frame(image, result_of([small, large], 100, 100), CATEGORIES, alpha=1.0, labels=False)
    assert tuple(out[50, 50]) == track_color(0)


def test_draw_frame__wrong_input__says_what_and_where():
    """Catches foreign tracebacks and silently wrong pictures."""
    image = picture(40, 60)
    good = result_of([box_mask(40, 60, 5, 5, 30, 30)], 40, 60)
    cases = [
        (image.astype(float), good, {}, "image: is float64"),
        (image[..., 0], good, {}, "image: is uint8"),
        (image[:30], good, {}, r"masks\[0\]: mask is \(40, 60\)"),
        (image, dataclasses.replace(good, labels=[2]), {}, "label 2 has no name"),
        (image, dataclasses.replace(good, labels=[]), {}, "0 labels"),
        (image, good, {"alpha": 2}, "alpha: is 2"),
    ]
    for picture_, result, options, message in cases:
        with pytest.raises(DataError, match=message):
            draw_frame(picture_, result, CATEGORIES, **options)


def test_draw_tracks__arrays_rles_and_absent_masks__same_picture():
    """Catches the two kinds of mask being drawn differently, and absent objects drawn at all."""
    image, mask = picture(60, 80), box_mask(60, 80, 10, 10, 40, 50)
    one = draw_tracks(image, [mask, None], [3, 4], ["cat", "dog"])
    assert np.array_equal(one, draw_tracks(image, [encode(mask)], [3], ["cat"]))
    assert np.array_equal(one, draw_tracks(image, [mask.astype(np.float32)], [3], ["cat"]))


coordinate = st.integers(0, 99)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(coordinate, coordinate, st.integers(1, 60), st.integers(1, 60)), max_size=12),
    st.integers(12, 200),
    st.integers(5, 300),
)
def test_place_chips__any_objects__inside_the_picture(boxes, height, width):
    """Catches chips that leave the picture, for objects at and beyond each border."""
    anchors = [Anchor(["[1] name 87%", "[1]"], (x, y, x + w, y + h), x + w // 2, (0, 0, 0)) for x, y, w, h in boxes]
    for chip in place_chips(anchors, width, height):
        left, top, right, bottom = chip.box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert font_of(font_size(height)).getlength(chip.text) <= right - left


@pytest.mark.parametrize(
    "box", [(0, 0, 30, 10), (290, 0, 320, 40), (0, 170, 30, 192), (290, 170, 320, 192), (0, 0, 320, 192), (0, 0, 1, 1)]
)
def test_place_chips__object_at_each_border__full_label_inside(box):
    """Catches labels cut off at the picture's border, and shortened though there is room."""
    (chip,) = place_chips([Anchor(["[12] name 87%", "[12]"], box, (box[0] + box[2]) // 2, (0, 0, 0))], 320, 192)
    assert chip.text == "[12] name 87%"
    assert min(chip.box) >= 0
    assert chip.box[2] <= 320
    assert chip.box[3] <= 192


def test_place_chips__objects_on_one_spot__labels_apart():
    """Catches labels drawn over each other where there is room beside."""
    anchors = [Anchor([f"[{i}] object 87%"], (600, 300, 700, 400), 650, (0, 0, 0)) for i in range(8)]
    chips = place_chips(anchors, 1280, 720)
    cover = np.zeros((720, 1280), int)
    for left, top, right, bottom in (chip.box for chip in chips):
        cover[top:bottom, left:right] += 1
    assert len(chips) == 8
    assert cover.max() == 1


def test_place_chips__narrow_picture__takes_the_shorter_wording():
    """Catches a label dropped though its id alone would fit."""
    (chip,) = place_chips([Anchor(["[1] a very long category name 87%", "[1]"], (0, 0, 40, 40), 20, (0, 0, 0))], 40, 40)
    assert chip.text == "[1]"
    assert place_chips([Anchor(["[1]"], (0, 0, 5, 5), 2, (0, 0, 0))], 5, 5) == []


def test_draw_tracks__mask_in_two_parts__label_over_one_of_them(monkeypatch):
    """Catches a label that floats between the parts of an object that something else hides in the middle."""
    anchors = []
    monkeypatch.setattr(overlay, "place_chips", lambda found, *_: anchors.extend(found) or [])
    mask = box_mask(90, 160, 30, 5, 60, 25) | box_mask(90, 160, 30, 130, 60, 150)
    draw_tracks(picture(90, 160), [mask], [1], ["cat"])
    assert mask[30, anchors[0].top_x]


@pytest.mark.parametrize("name", ["two\nlines\t", "half \ud800", "", "长 🦊", "x" * 5000, "\x00"])
def test_draw_tracks__odd_names__drawn_without_error(name):
    """Catches names that Pillow cannot measure, which would stop a whole video."""
    out = draw_tracks(picture(90, 160), [box_mask(90, 160, 30, 5, 60, 25)], [1], [name])
    assert out.shape == (90, 160, 3)
    assert side_by_side(out, out, (name, name)).shape[1] == 328


def test_import__visualization__loads_no_heavy_package():
    """Catches an import at the top of a module that makes every start slow or needs an optional package."""
    heavy = ("cv2", "jinja2", "PIL", "av", "torch", "matplotlib", "detectron2")
    code = f"import sys, dense.visualization; print(*sorted(set({heavy}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_side_by_side__different_odd_sizes__pixels_kept():
    """Catches resampling, cropping, and a left picture that swaps places with the right."""
    left, right = picture(33, 51, 1), picture(47, 29, 2)
    sheet = side_by_side(left, right)
    assert sheet.shape == (47, 51 + 8 + 29, 3)
    assert np.array_equal(sheet[7:40, :51], left)
    assert np.array_equal(sheet[:, 59:], right)
    titled = side_by_side(left, right, ("ground truth", "a title far too long for this picture"))
    assert np.array_equal(titled[-47:], sheet)
    assert titled.shape[0] > 47
    assert (titled[:-47, :51] > 200).any()
