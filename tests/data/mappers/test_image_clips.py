"""A training clip made of one image."""

import numpy as np
import pytest
from PIL import Image

from dense.data.formats.coco import parse_coco
from dense.data.mappers import FrameSampler, ImageClipMapper, InstanceAnnotations
from dense.data.transforms import ClipCrop, ClipFlip, ClipPipeline, PseudoRotation
from dense.errors import DataError
from dense.structures import rle

HEIGHT, WIDTH = 40, 60


def _annotations(folder, classes=None):
    """A picture with a red rectangle (category 9) on the left and a blue one (category 3) on the right."""
    masks = np.zeros((2, HEIGHT, WIDTH), bool)
    masks[0, 10:30, 5:20], masks[1, 15:35, 40:55] = True, True
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    pixels[masks[0]], pixels[masks[1]] = (250, 0, 0), (0, 0, 250)
    Image.fromarray(pixels).save(folder / "a.png")
    objects = [
        {"id": k, "image_id": 4, "category_id": c, "segmentation": rle.encode(mask)}
        for k, (c, mask) in enumerate(zip((9, 3), masks, strict=True))
    ]
    images = [{"id": 4, "width": WIDTH, "height": HEIGHT, "file_name": "a.png"}]
    categories = [{"id": 3, "name": "blue"}, {"id": 9, "name": "red"}]
    dataset = parse_coco({"images": images, "annotations": objects, "categories": categories}, image_root=folder)
    return InstanceAnnotations(dataset, dataset.images, classes)


def test_clip__rotated__masks_lie_on_their_objects_in_every_frame(tmp_path):
    """Catches masks and pictures that are turned by different draws, frames that do not move, and slots that change."""
    mapper = ImageClipMapper(_annotations(tmp_path), FrameSampler(6, 20), ClipPipeline((ClipFlip(), PseudoRotation())))
    clip = mapper(0, np.random.default_rng(0))
    assert len(clip["image"]) == len(clip["instances"]) == len(clip["frame_idx"]) == 6
    assert clip["frame_idx"] == sorted(clip["frame_idx"])
    assert 16 <= clip["length"] <= 48
    assert max(clip["frame_idx"]) < clip["length"]
    for image, targets in zip(clip["image"], clip["instances"], strict=True):
        assert targets.labels.tolist() == [1, 0]
        assert targets.ids.tolist() == [0, 1]
        red, blue = image[:, targets.masks[0]].float(), image[:, targets.masks[1]].float()
        assert red[0].mean() > 220  # borders are interpolated
        assert blue[2].mean() > 220
    assert not (clip["image"][0] == clip["image"][5]).all()


def test_clip__object_cut_away__keeps_class_loses_id(tmp_path):
    """Catches an invisible object that is supervised as visible, and slots that shift."""
    crop = ClipCrop("absolute", (HEIGHT, 25))
    mapper = ImageClipMapper(_annotations(tmp_path), FrameSampler(2, 20), ClipPipeline((crop,)))
    seen = set()
    for seed in range(20):
        for targets in mapper(0, np.random.default_rng(seed))["instances"]:
            assert targets.labels.tolist() == [1, 0]
            for slot in range(2):
                assert targets.ids[slot].item() == (slot if targets.masks[slot].any() else -1)
            seen.add(tuple(targets.ids.tolist()))
    assert (0, -1) in seen
    assert (-1, 1) in seen


def test_clip__same_generator__same_clip(tmp_path):
    """Catches draws from global state: a resumed run would see other pictures."""
    mapper = ImageClipMapper(_annotations(tmp_path), FrameSampler(3, 1), ClipPipeline((PseudoRotation(),)))
    one, two = (mapper(0, np.random.default_rng(3)) for _ in range(2))
    assert one["frame_idx"] == two["frame_idx"]
    assert all((a == b).all() for a, b in zip(one["image"], two["image"], strict=True))


def test_clip__mapped_classes__others_left_out(tmp_path):
    """Catches an object of a category without counterpart that is trained on under a wrong class."""
    mapper = ImageClipMapper(_annotations(tmp_path, {9: 17}), FrameSampler(2, 20), ClipPipeline(()))
    targets = mapper(0, np.random.default_rng(0))["instances"][0]
    assert targets.labels.tolist() == [17]
    assert targets.masks.shape == (1, HEIGHT, WIDTH)
    assert targets.masks[0, 10:30, 5:20].all()


def test_clip__missing_picture__names_the_file(tmp_path):
    """Catches a traceback out of the image library."""
    annotations = _annotations(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png"):
        ImageClipMapper(annotations, FrameSampler(2, 20), ClipPipeline(()))(0, np.random.default_rng(0))
