"""From an annotated image to the sample of an image segmenter."""

import numpy as np
import pytest
import torch
from PIL import Image

from dense.data.formats.coco import parse_coco
from dense.data.formats.coco_panoptic import parse_panoptic
from dense.data.formats.png_ids import write_id_map, write_label_map
from dense.data.formats.semantic_maps import read_semantic_folders
from dense.data.mappers import ImageSegmentationMapper, InstanceAnnotations, PanopticAnnotations, SemanticAnnotations
from dense.data.transforms import ClipCrop, ClipFlip, ClipPipeline, LargeScaleJitter, ResizeShortestEdge
from dense.errors import DataError
from dense.structures import rle

HEIGHT, WIDTH = 20, 30
KEEP = ClipPipeline(())


@pytest.fixture
def sets(tmp_path):
    """One picture whose left third is red (class 1 of 2), top right corner blue (class 0); in all three formats."""
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[:, :10], ids[:5, 20:] = 7, 300
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    pixels[ids == 7], pixels[ids == 300] = (250, 0, 0), (0, 0, 250)
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    write_id_map(tmp_path / "ids" / "a.png", ids)
    write_label_map(tmp_path / "labels" / "a.png", np.select([ids == 7, ids == 300], [1, 0], 255))
    images = [{"id": 0, "width": WIDTH, "height": HEIGHT, "file_name": "a.png"}]
    categories = [{"id": 3, "name": "blue"}, {"id": 9, "name": "red"}]
    objects = [
        {"id": k, "image_id": 0, "category_id": c, "segmentation": rle.encode(ids == i), "iscrowd": crowd}
        for k, (i, c, crowd) in enumerate([(7, 9, 0), (300, 3, 0), (0, 3, 1)])
    ]
    segments = [{"id": 7, "category_id": 9}, {"id": 300, "category_id": 3}]
    annotation = {"image_id": 0, "file_name": "a.png", "segments_info": segments}
    coco = parse_coco({"images": images, "annotations": objects, "categories": categories}, image_root=tmp_path / "images")
    panoptic = parse_panoptic(
        {"images": images, "annotations": [annotation], "categories": categories},
        png_root=tmp_path / "ids",
        image_root=tmp_path / "images",
    )
    semantic = read_semantic_folders(tmp_path / "images", tmp_path / "labels", ["blue", "red"])
    return {
        "instances": InstanceAnnotations(coco, coco.images),
        "panoptic": PanopticAnnotations(panoptic, panoptic.images),
        "semantic": SemanticAnnotations(semantic, semantic.images),
        "folder": tmp_path,
    }


def regions(sample):
    """Masks by class."""
    targets = sample["instances"]
    return dict(zip(targets.gt_classes.tolist(), targets.gt_masks.numpy(), strict=True))


@pytest.mark.parametrize("kind", ["instances", "panoptic", "semantic"])
def test_mapper__each_format__same_regions(sets, kind):
    """Catches classes by id instead of index, crowds and unlabelled pixels among the targets."""
    sample = ImageSegmentationMapper(sets[kind], KEEP)(0, np.random.default_rng(0))
    found = regions(sample)
    assert set(found) == {0, 1}
    assert (found[1].sum(), found[0].sum()) == (HEIGHT * 10, 5 * 10)
    assert (sample["height"], sample["width"], sample["image"].dtype) == (HEIGHT, WIDTH, torch.uint8)
    assert sample["file_name"].endswith("a.png")


@pytest.mark.parametrize(
    "augmentation",
    [
        ClipFlip(probability=1.0),
        LargeScaleJitter(64, (0.5, 2.0)),
        ClipPipeline((ResizeShortestEdge((33,)), ClipCrop("absolute", (25, 25)))),
    ],
)
def test_mapper__augmented__masks_stay_on_their_colours(sets, augmentation):
    """Catches an image that is changed without its masks, or otherwise."""
    mapper = ImageSegmentationMapper(sets["panoptic"], augmentation)
    for seed in range(12):
        sample = mapper(0, np.random.default_rng(seed))
        image = sample["image"].numpy().astype(int)
        for label, mask in regions(sample).items():
            assert mask.shape == image.shape[1:]
            colour = image[:, mask].mean(axis=1)
            assert np.argmax(colour) == (0 if label == 1 else 2)


def test_mapper__crop_without_a_region__left_out(sets):
    """Catches empty masks as targets, whose losses mean nothing."""
    mapper = ImageSegmentationMapper(sets["panoptic"], ClipCrop("absolute", (3, 3)))
    counts = {len(mapper(0, np.random.default_rng(seed))["instances"]) for seed in range(30)}
    assert 0 in counts
    assert max(counts) >= 1


def test_mapper__bgr__channels_reversed(sets):
    """Catches a model that is fed the wrong channel order."""
    sample = ImageSegmentationMapper(sets["semantic"], KEEP, bgr=True)(0, np.random.default_rng(0))
    assert sample["image"][:, 0, 0].tolist() == [0, 0, 250]


def test_mapper__same_generator__same_sample(sets):
    """Catches randomness from global state."""
    mapper = ImageSegmentationMapper(sets["instances"], LargeScaleJitter(32, (0.5, 2.0)))
    first, second = (mapper(0, np.random.default_rng(5)) for _ in range(2))
    assert (first["image"] == second["image"]).all()
    assert (first["instances"].gt_masks == second["instances"].gt_masks).all()


def test_mapper__label_map_of_other_size__error(sets):
    """Catches labels that are cut or stretched silently."""
    write_label_map(sets["folder"] / "labels" / "a.png", np.zeros((HEIGHT, WIDTH - 1)))
    with pytest.raises(DataError, match=r"a\.png"):
        ImageSegmentationMapper(sets["semantic"], KEEP)(0, np.random.default_rng(0))
