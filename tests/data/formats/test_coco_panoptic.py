"""Reader of COCO panoptic files and of the PNG files of ids and labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from dense.data.formats.coco_panoptic import parse_panoptic, read_panoptic
from dense.data.formats.png_ids import (
    colours_to_ids,
    ids_to_colours,
    read_id_map,
    read_label_map,
    write_id_map,
    write_label_map,
)
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.errors import DataError

CASES = Path(__file__).parents[1] / "cases"

VALID = {
    "images": [{"id": 3, "width": 4, "height": 2, "file_name": "a.jpg"}],
    "annotations": [{"image_id": 3, "file_name": "a.png", "segments_info": [{"id": 5, "category_id": 1, "iscrowd": 0}]}],
    "categories": [{"id": 1, "name": "cat", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}],
}


def read_case(name):
    return read_panoptic(CASES / name / "gt.json", CASES / name / "gt")


def test_panoptic_ids__above_65535__all_three_channels_count():
    """Catches a third channel that is dropped or weighted wrongly."""
    dataset = read_case("pan-id-above-65535")
    ids = dataset.ids(dataset.images[0])
    assert {int(i): int((ids == i).sum()) for i in np.unique(ids)} == {197121: 60, 66049: 40}


def test_panoptic_ids__png_id_not_in_json__error_names_both():
    """Catches an IndexError in the middle of training."""
    dataset = read_case("pan-png-id-not-in-json")
    with pytest.raises(DataError, match=r"0000\.png.* id 9"):
        dataset.ids(dataset.images[0])


def test_panoptic_ids__json_id_not_in_png__error_names_both(tmp_path):
    """Catches a segment without pixels."""
    write_id_map(tmp_path / "a.png", np.zeros((2, 4), np.int32))
    dataset = parse_panoptic(VALID, png_root=tmp_path)
    with pytest.raises(DataError, match=r"a\.png.* id 5"):
        dataset.ids(dataset.images[0])


def test_parse_panoptic__things__by_class_index():
    """Catches stuff taken for things."""
    assert parse_panoptic(VALID).things == frozenset({0})


def test_parse_panoptic__no_annotations__says_so():
    """Catches a KeyError on files of test images."""
    with pytest.raises(AnnotationsMissingError):
        parse_panoptic({**VALID, "annotations": None})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("image_id", 4, "image_id 4"),
        ("file_name", None, "file_name"),
        ("segments_info", None, "segments_info"),
        ("segments_info", [{"id": 0, "category_id": 1}], "`id` is 0"),
        ("segments_info", [{"id": 1 << 24, "category_id": 1}], "16777216"),
        ("segments_info", [{"id": 1, "category_id": 1}, {"id": 1, "category_id": 2}], "duplicate id 1"),
        ("segments_info", [{"id": 1, "category_id": 3}], "category_id 3"),
        ("segments_info", [{"id": 1, "category_id": 1, "iscrowd": "no"}], "iscrowd"),
    ],
)
def test_parse_panoptic__wrong_field__error_names_it(field, value, words):
    """Catches a wrong value that is taken as it is, or ends as a foreign traceback."""
    annotation = {**VALID["annotations"][0], field: value}
    with pytest.raises(DataError) as caught:
        parse_panoptic({**VALID, "annotations": [annotation]})
    assert words in str(caught.value)


def test_parse_panoptic__image_twice__error():
    """Catches an image that is scored twice."""
    with pytest.raises(DataError, match="duplicate id 3"):
        parse_panoptic({**VALID, "annotations": VALID["annotations"] * 2})


def test_read_panoptic__real_coco_file__every_pixel_accounted_for(shared):
    """Catches anything that the official files have and ours do not: all ids agree, areas as stated."""
    folder = shared / "data" / "real" / "annotations"
    dataset = read_panoptic(folder / "coco_panoptic_2_gt.json", folder / "coco_panoptic_2_gt")
    stated = json.loads((folder / "coco_panoptic_2_gt.json").read_text())["annotations"]
    for image, record in zip(dataset.images, stated, strict=True):
        ids = dataset.ids(image)
        assert {s["id"]: s["area"] for s in record["segments_info"]} == {s.id: int((ids == s.id).sum()) for s in image.segments}


@given(hnp.arrays(np.int32, (3, 5), elements=st.integers(0, (1 << 24) - 1)))
def test_ids_to_colours__any_ids__round_trip(ids):
    """Catches a channel swapped or cut."""
    assert (colours_to_ids(ids_to_colours(ids)) == ids).all()


def test_ids_to_colours__negative_or_too_large__error():
    """Catches ids that wrap around silently."""
    for value in (-1, 1 << 24):
        with pytest.raises(DataError):
            ids_to_colours(np.full((1, 1), value, np.int64))


def test_read_id_map__gray_picture__error(tmp_path):
    """Catches a label map read as ids (gray 1 would become 65793)."""
    write_label_map(tmp_path / "labels.png", np.ones((2, 2), np.uint8))
    with pytest.raises(DataError, match="mode L"):
        read_id_map(tmp_path / "labels.png")


def test_read_label_map__palette_and_16_bits__values_as_stored(tmp_path):
    """Catches a palette that is looked up, and 16 bits cut to 8."""
    picture = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8), mode="L").convert("P")
    picture.putdata([0, 1, 2, 3])
    picture.save(tmp_path / "palette.png")
    write_label_map(tmp_path / "deep.png", np.array([[0, 300]], np.int32))
    assert read_label_map(tmp_path / "palette.png").tolist() == [[0, 1], [2, 3]]
    assert read_label_map(tmp_path / "deep.png").tolist() == [[0, 300]]


@pytest.mark.parametrize("name", ["missing.png", "text.png", "colour.png", "small.png"])
def test_read_label_map__unusable_file__error_names_it(tmp_path, name):
    """Catches foreign tracebacks, colour pictures taken for labels, and maps of another size."""
    (tmp_path / "text.png").write_text("no picture")
    write_id_map(tmp_path / "colour.png", np.zeros((2, 2), np.int32))
    write_label_map(tmp_path / "small.png", np.zeros((1, 2), np.uint8))
    with pytest.raises(DataError, match=name):
        read_label_map(tmp_path / name, (2, 2))
