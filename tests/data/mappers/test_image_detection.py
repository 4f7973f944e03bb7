"""What a detector is given: boxes, classes and masks of the objects that are left after the augmentation."""

import numpy as np
import pytest
from PIL import Image

from dense.data.formats.coco import parse_coco
from dense.data.mappers import DetectionMapper, InstanceAnnotations
from dense.data.transforms import ClipPipeline, Crop, Flip, Resize

RNG = np.random.default_rng(0)


class Fixed:
    """An augmentation that draws the same transforms always."""

    def __init__(self, *transforms):
        self.transforms = list(transforms)

    def sample(self, sizes, rng):
        return [self.transforms for _ in sizes]


@pytest.fixture
def annotations(tmp_path):
    """One picture 40 x 30: a polygon, an object with a box only, a crowd, and one of a class that is not wanted."""
    Image.fromarray(np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3)).save(tmp_path / "a.png")
    polygon = [[4, 6, 14, 6, 14, 16, 4, 16]]
    objects = [
        {"id": 0, "category_id": 7, "bbox": [4, 6, 10, 10], "segmentation": polygon},
        {"id": 1, "category_id": 3, "bbox": [20.5, 2.25, 9, 8]},
        {"id": 2, "category_id": 3, "bbox": [0, 0, 40, 30], "segmentation": [[0, 0, 40, 0, 40, 30, 0, 30]], "iscrowd": 1},
    ]
    data = {
        "images": [{"id": 1, "file_name": "a.png", "height": 30, "width": 40}],
        "categories": [{"id": 3, "name": "x"}, {"id": 7, "name": "y"}],
        "annotations": [{**item, "image_id": 1} for item in objects],
    }
    dataset = parse_coco(data, image_root=tmp_path, masks=False)
    return InstanceAnnotations(dataset, dataset.images)


def test_detection_mapper__without_masks__boxes_of_all_but_the_crowd(annotations):
    """Catches crowds that are learnt, objects without a mask that get lost, width taken for the right edge."""
    record = DetectionMapper(annotations, Fixed(), masks=False)(0, RNG)
    targets = record["instances"]
    assert targets.boxes.tolist() == [[4, 6, 14, 16], [20.5, 2.25, 29.5, 10.25]]
    assert targets.labels.tolist() == [1, 0]
    assert targets.masks is None
    assert (record["height"], record["width"], tuple(record["image"].shape)) == (30, 40, (3, 30, 40))


def test_detection_mapper__resized_and_flipped__boxes_and_masks_in_pixels_of_the_result(annotations):
    """Catches boxes left at the original size, and masks that do not fit them."""
    record = DetectionMapper(annotations, Fixed(Resize(60, 80), Flip()), masks=True)(0, RNG)
    targets = record["instances"]
    assert targets.boxes.tolist() == [[80 - 28, 12, 80 - 8, 32]]
    assert targets.size == (60, 80) == tuple(targets.masks.shape[1:])
    rows, columns = targets.masks[0].nonzero(as_tuple=True)
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (52, 72, 12, 32)


def test_detection_mapper__cropped__boxes_around_what_is_left(annotations):
    """Catches boxes that keep the part outside, and objects that are cut away but kept."""
    half = DetectionMapper(annotations, Fixed(Crop(10, 8, 20, 20)), masks=True)(0, RNG)["instances"]
    assert half.boxes.tolist() == [[0, 0, 6, 6]]
    none = DetectionMapper(annotations, Fixed(Crop(18, 15, 10, 20)), masks=True)(0, RNG)["instances"]
    assert len(none) == 0
    assert tuple(none.boxes.shape) == (0, 4)
    assert tuple(none.masks.shape) == (0, 10, 20)


def test_detection_mapper__bgr__channels_reversed(annotations):
    """Catches a channel order that is not passed on."""
    pipeline = ClipPipeline(())
    rgb = DetectionMapper(annotations, pipeline, masks=False)(0, RNG)["image"]
    bgr = DetectionMapper(annotations, pipeline, masks=False, bgr=True)(0, RNG)["image"]
    assert (rgb.flip(0) == bgr).all()
    assert not (rgb == bgr).all()
