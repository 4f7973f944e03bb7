"""Result files of image tasks."""

import json

import numpy as np
import pytest

from dense.data.formats.coco import parse_coco
from dense.data.formats.coco_panoptic import parse_panoptic
from dense.data.formats.image_results import (
    image_result_to_detections,
    panoptic_result_record,
    parse_detections,
    read_detections,
    read_panoptic_results,
    write_detections,
)
from dense.errors import DataError
from dense.structures import ImageResult, Segment, rle

CATEGORIES = [{"id": 9, "name": "cat"}, {"id": 4, "name": "dog"}]
DATASET = parse_coco(
    {"images": [{"id": 0, "width": 6, "height": 5, "file_name": "a"}], "annotations": [], "categories": CATEGORIES}
)
GOOD = {"image_id": 0, "category_id": 9, "score": 0.5, "bbox": [1, 1, 2, 3]}


def mask(rows, columns):
    out = np.zeros((5, 6), bool)
    out[rows, columns] = True
    return rle.encode(out)


def test_detections__written_and_read__equal(tmp_path):
    """Catches boxes that are not those of the masks, labels off by one, and id 0 lost."""
    result = ImageResult(5, 6, labels=[1, 0], scores=[0.9, 0.4], masks=[mask(slice(1, 3), slice(2, 6)), mask(0, 0)])
    found = image_result_to_detections(result, 0, [4, 9])
    write_detections(tmp_path / "results.json", found)
    assert read_detections(tmp_path / "results.json", DATASET) == found
    assert [(d.category_id, d.box) for d in found] == [(9, (2, 1, 4, 2)), (4, (0, 0, 1, 1))]


def test_image_result_to_detections__label_without_id__error():
    """Catches a model with more classes than the data set."""
    with pytest.raises(DataError, match="label 2"):
        image_result_to_detections(ImageResult(5, 6, labels=[2], scores=[1.0], masks=[mask(0, 0)]), 7, [4, 9])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_id": 1}, "image_id 1"),
        ({"category_id": 5}, "category_id 5"),
        ({"score": float("nan")}, "score"),
        ({"score": None}, "score"),
        ({"bbox": None}, "neither"),
        ({"bbox": [1, 2]}, "bbox"),
        ({"segmentation": {"size": [6, 5], "counts": [30]}}, "5x6"),
    ],
)
def test_parse_detections__wrong_field__error_names_record_and_field(change, words):
    """Catches results of another data set, and values that would be scored silently."""
    with pytest.raises(DataError) as caught:
        parse_detections([GOOD, {**GOOD, **change}], DATASET)
    assert "results[1]" in str(caught.value)
    assert words in str(caught.value)


def panoptic():
    data = {
        "images": [{"id": i, "width": 2, "height": 1, "file_name": f"{i}.jpg"} for i in (0, 1)],
        "annotations": [
            {"image_id": i, "file_name": f"{i}.png", "segments_info": [{"id": 1, "category_id": 9}]} for i in (0, 1)
        ],
        "categories": CATEGORIES,
    }
    return parse_panoptic(data)


def test_panoptic_results__written_and_read__equal(tmp_path):
    """Catches labels off by one and ids that change on the way."""
    result = ImageResult(1, 2, panoptic=np.array([[0, 3]], np.int32), segments=[Segment(3, 1, True, 1)])
    records = [panoptic_result_record(result, i, f"{i}.png", [4, 9]) for i in (0, 1)]
    (tmp_path / "p.json").write_text(json.dumps({"annotations": records}))
    found = read_panoptic_results(tmp_path / "p.json", panoptic())
    assert {i: [(s.id, s.category_id) for s in record.segments] for i, record in found.items()} == {0: [(3, 9)], 1: [(3, 9)]}


@pytest.mark.parametrize(("ids", "words"), [((0,), "image 1 "), ((0, 1, 2), "image_id 2"), ((0, 0), "duplicate")])
def test_read_panoptic_results__not_one_per_image__error(tmp_path, ids, words):
    """Catches images without a result that silently raise the score."""
    records = [{"image_id": i, "file_name": "x.png", "segments_info": []} for i in ids]
    (tmp_path / "p.json").write_text(json.dumps({"annotations": records}))
    with pytest.raises(DataError, match=words):
        read_panoptic_results(tmp_path / "p.json", panoptic())
