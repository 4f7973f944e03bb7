"""Panoptic and semantic maps over pictures."""

import numpy as np
import pytest

from dense.errors import DataError
from dense.structures import FrameResult, ImageResult, Segment, rle
from dense.visualization import draw_image, draw_maps, draw_panoptic, draw_semantic, draw_tracks, segment_color, track_color

GREY = np.full((60, 80, 3), 100, np.uint8)


def halves(left, right):
    ids = np.full((60, 80), left, np.int32)
    ids[:, 40:] = right
    return ids


def test_draw_semantic__two_classes__each_blended_with_its_own_colour():
    """Catches colours of the wrong class and a blend of the wrong strength."""
    out = draw_semantic(GREY, halves(3, 255), ["a"] * 4, alpha=0.25, labels=False)
    assert out[30, 10].tolist() == [round(0.25 * c + 75) for c in track_color(3)]
    assert out[30, 70].tolist() == [100, 100, 100]  # unlabelled stays
    assert (GREY == 100).all()


def test_draw_semantic__labels__only_where_there_is_a_region():
    """Catches names missing, and names over a region that is not theirs."""
    plain = draw_semantic(GREY, halves(0, 255), ["sky"], labels=False)
    named = draw_semantic(GREY, halves(0, 255), ["sky"])
    changed = (plain != named).any(axis=2)
    assert changed[:, :40].any()
    assert not changed[:, 45:].any()


def test_draw_panoptic__thing_and_stuff__same_class_different_look():
    """Catches two things of one class that cannot be told apart, and stuff as loud as things."""
    segments = [Segment(1, 5, True, 2400), Segment(2, 5, True, 2400)]
    out = draw_panoptic(GREY, halves(1, 2), segments, ["x"] * 6, alpha=1.0, labels=False)
    assert out[30, 10].tolist() == list(track_color(1))
    assert out[30, 70].tolist() == list(track_color(2))
    stuff = draw_panoptic(GREY, halves(1, 0), [Segment(1, 5, False, 2400)], ["x"] * 6, alpha=1.0, labels=False)
    assert np.ptp(stuff[30, 10].astype(int)) < np.ptp(np.array(track_color(5)))
    assert stuff[30, 70].tolist() == [100, 100, 100]


def test_draw_panoptic__border__drawn_at_full_strength():
    """Catches regions that run into each other."""
    segments = [Segment(1, 0, True, 2400), Segment(2, 0, True, 2400)]
    out = draw_panoptic(GREY, halves(1, 2), segments, ["x"], alpha=0.3, labels=False)
    assert out[30, 39].tolist() == list(track_color(1))
    assert out[30, 38].tolist() != list(track_color(1))


def test_draw_image__objects_only__as_draw_tracks():
    """Catches a result without maps that is drawn as nothing."""
    mask = rle.encode(halves(1, 0))
    result = ImageResult(60, 80, labels=[1], scores=[0.5], masks=[mask], categories=["a", "b"])
    assert (draw_image(GREY, result) == draw_tracks(GREY, [mask], [1], ["b"], scores=[0.5])).all()


def test_draw_image__maps__panoptic_before_semantic():
    """Catches a map that hides the richer one."""
    panoptic = {"panoptic": halves(1, 0), "segments": [Segment(1, 0, True, 2400)]}
    both = ImageResult(60, 80, **panoptic, semantic=halves(0, 0).astype(np.uint8), categories=["a"])
    assert (draw_image(GREY, both, labels=False)[:, 45:] == 100).all()
    semantic = ImageResult(60, 80, semantic=halves(0, 255).astype(np.uint8), categories=["a"])
    assert (draw_image(GREY, semantic, labels=False)[:, :38] != 100).any()


def test_draw_image__nothing_found__the_picture_itself():
    """Catches a crash on empty results."""
    assert (draw_image(GREY, ImageResult(60, 80)) == GREY).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 400)])
def test_draw_semantic__tiny_picture__drawn_without_name(size):
    """Catches labels that do not fit the picture."""
    out = draw_semantic(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8), ["name"], alpha=1.0)
    assert (out == track_color(0)).all()


def test_draw_semantic__map_of_other_size__error():
    """Catches a map that is stretched or shifted silently."""
    with pytest.raises(DataError, match=r"\(5, 5\)"):
        draw_semantic(GREY, np.zeros((5, 5), np.uint8), ["a"])


def test_draw_maps__object_in_two_frames__keeps_its_colour_when_another_comes():
    """Catches colours by place in the list; and a frame whose map is not drawn."""
    image = np.full((40, 60, 3), 90, np.uint8)
    one, two = np.zeros((2, 40, 60), np.int32)
    one[5:35, 5:25] = 9
    two[5:35, 30:50], two[5:35, 5:25] = 9, 4
    nine, four = Segment(9, 0, True, 600), Segment(4, 0, True, 600)
    first = draw_maps(image, FrameResult(0, 0.0, 40, 60, panoptic=one, segments=[nine]), [], alpha=1.0)
    second = draw_maps(image, FrameResult(1, 0.1, 40, 60, panoptic=two, segments=[four, nine]), [], alpha=1.0)
    assert tuple(first[32, 8]) == tuple(second[32, 33]) == track_color(9) == segment_color(9, 0, True)
    assert tuple(second[32, 8]) == track_color(4)
    classes = np.where(one, 3, 1).astype(np.uint8)
    semantic = draw_maps(image, FrameResult(0, 0.0, 40, 60, semantic=classes), [], alpha=1.0)
    assert tuple(semantic[32, 8]) == track_color(3)
    with pytest.raises(DataError, match="neither a panoptic nor a semantic map"):
        draw_maps(image, FrameResult(2, 0.2, 40, 60), [])
