"""Image segmenter: the whole model against the reference's numbers; results and training targets."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog

from dense import build_model, load_checkpoint, load_config
from dense.errors import ConfigError
from dense.modeling.postprocess import semantic_result

R50 = "configs/dvis/base_r50.yaml"
TINY = "configs/world/minvis_lite0.yaml"


@pytest.fixture(scope="module")
def whole(golden, parity, root):
    """The reference's image model: official names, 8 classes, 16 queries, filled weights."""
    arrays = parity.Arrays(golden("mask2former.npz"), "model.")
    options = ["MODEL.META_ARCHITECTURE", "MaskFormer", "MODEL.DEVICE", "cpu", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "8"]
    options += ["MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", "16", "TEST.DETECTIONS_PER_IMAGE", "10"]
    options += ["MODEL.MASK_FORMER.TEST.SEMANTIC_ON", "False", "MODEL.MASK_FORMER.TEST.INSTANCE_ON", "True"]
    model = build_model(load_config(root / R50, options)).eval()
    shapes = arrays.shapes()
    own = {k: list(v.shape) for k, v in model.state_dict().items()}
    assert {k: s for k, s in shapes.items() if k != "criterion.empty_weight"} == {
        k: s for k, s in own.items() if k != "criterion.empty_weight"
    }
    load_checkpoint(model, parity.state_dict(own), strict=True)
    return arrays, model


@pytest.mark.golden
def test_image_segmenter__two_sizes_in_a_batch__all_predictions_equal_reference(whole):
    """Catches any difference between backbone, pixel decoder, decoder and padding as they work together."""
    arrays, model = whole
    stack = model.preprocessor([arrays.tensor("image0"), arrays.tensor("image1")])
    with torch.no_grad():
        mask_features, levels = model.sem_seg_head.pixel_decoder(model.backbone(stack.tensor))
        output = model.sem_seg_head.predictor(levels, mask_features)
    assert arrays.distance("mask_features", mask_features) < 1e-4
    for i, level in enumerate(levels):
        assert arrays.distance(f"multi_scale.{i}", level) < 1e-4
    assert arrays.distance("logits", torch.stack([p.logits for p in output.predictions])) < 1e-4
    assert arrays.distance("masks", torch.stack([p.masks[:, :, 0] for p in output.predictions])) < 1e-4


@pytest.mark.golden
def test_image_segmenter__instances__equal_reference(whole):
    """Catches images of a batch swapped, a crop of the wrong image's padding, an output size that is not the one asked for."""
    arrays, model = whole
    height, width = arrays["image0"].shape[1:]
    batch = [
        {"image": arrays.tensor("image0"), "height": height + 9, "width": width - 11},
        {"image": arrays.tensor("image1")},
    ]
    with torch.no_grad():
        results = model(batch)
    for i, result in enumerate(results):
        found = result["instances"]
        order = np.argsort(-found.scores.numpy(), kind="stable")
        assert found.scores.numpy()[order] == pytest.approx(arrays[f"result{i}.scores"], abs=1e-4)
        assert found.labels.numpy()[order].tolist() == arrays[f"result{i}.classes"].tolist()
        theirs = arrays.packed(f"result{i}.masks")
        assert (found.masks.numpy()[order] != theirs).sum() <= theirs.size / 10_000


def tiny(root, **options):
    values = {"MODEL.META_ARCHITECTURE": "ImageSegmenter", "MODEL.TIMM.WEIGHTS": "", "MODEL.MASK_FORMER.DEC_LAYERS": 2}
    values |= {"MODEL.SEM_SEG_HEAD.NUM_CLASSES": 4, "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES": 6}
    values |= {key.replace("__", "."): value for key, value in options.items()}
    return build_model(load_config(root / TINY, [part for pair in values.items() for part in pair]))


def test_image_segmenter__semantic_only__scores_are_resized_after_the_softmax(root):
    """Catches SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE ignored: the two orders give different scores."""
    off = {f"MODEL__MASK_FORMER__TEST__{k}": False for k in ("INSTANCE_ON", "PANOPTIC_ON")}
    torch.manual_seed(0)
    model = tiny(root, MODEL__MASK_FORMER__TEST__SEMANTIC_ON=True, **off).eval()
    batch = [{"image": torch.rand(3, 40, 50) * 255, "height": 90, "width": 70}]
    with torch.no_grad():
        scores = model(batch)[0]["sem_seg"]
        stack = model.preprocessor([batch[0]["image"]])
        final = model.sem_seg_head(model.backbone(stack.tensor)).final
        masks = torch.nn.functional.interpolate(final.masks[:, :, 0], size=stack.padded, mode="bilinear")[0]
        padded = semantic_result(final.logits[0], masks)[:, :40, :50]
        expected = torch.nn.functional.interpolate(padded[None], size=(90, 70), mode="bilinear")[0]
        assert torch.allclose(scores, expected, atol=1e-6)
        model.resize_class_scores = False
        assert not torch.allclose(model(batch)[0]["sem_seg"], expected, atol=1e-6)


def test_image_segmenter__all_tasks__things_only_among_instances(root):
    """Catches stuff among the instances when panoptic results are on as well."""
    name = "test_image_segmenter_things"
    MetadataCatalog.get(name).thing_dataset_id_to_contiguous_id = {7: 0, 9: 2}
    on = {f"MODEL__MASK_FORMER__TEST__{k}": True for k in ("SEMANTIC_ON", "INSTANCE_ON", "PANOPTIC_ON")}
    model = tiny(root, DATASETS__TRAIN=f"('{name}',)", **on).eval()
    with torch.no_grad():
        (result,) = model([{"image": torch.rand(3, 32, 32) * 255}])
    assert set(result) == {"sem_seg", "panoptic_seg", "instances"}
    assert result["sem_seg"].shape == (4, 32, 32)
    assert set(result["instances"].labels.tolist()) == {0, 2}
    segment_map, segments = result["panoptic_seg"]
    assert set(segment_map.unique().tolist()) <= {0, *(s.id for s in segments)}


def test_image_segmenter__panoptic_set_by_name__its_things(root):
    """Catches a panoptic model for which everything is stuff."""
    on = {"MODEL__MASK_FORMER__TEST__PANOPTIC_ON": True, "DATASETS__TRAIN": "('coco_2017_train_panoptic',)"}
    assert tiny(root, MODEL__SEM_SEG_HEAD__NUM_CLASSES=133, **on).things == frozenset(range(80))
    assert tiny(root, MODEL__MASK_FORMER__TEST__THING_CLASSES=[1, 2], **on).things == frozenset({1, 2})


@pytest.mark.parametrize("name", ["somebody_s_own", "ade20k_sem_seg_train"])
def test_image_segmenter__things_not_known__says_which_key_lists_them(root, name):
    """Catches panoptic results whose things are guessed; without panoptic results nobody asks."""
    with pytest.raises(ConfigError, match="THING_CLASSES"):
        tiny(root, MODEL__MASK_FORMER__TEST__PANOPTIC_ON=True, DATASETS__TRAIN=f"('{name}',)")
    assert tiny(root, DATASETS__TRAIN=f"('{name}',)").things is None


def test_image_segmenter__training__losses_and_gradients(root):
    """Catches targets that are not padded like the images, and parameters without a gradient; one image has no object."""
    model = tiny(root).train()
    targets = [
        SimpleNamespace(gt_classes=torch.tensor([1, 3]), gt_masks=torch.rand(2, 33, 40) < 0.5),
        SimpleNamespace(gt_classes=torch.zeros(0, dtype=torch.int64), gt_masks=torch.zeros(0, 50, 30, dtype=torch.bool)),
    ]
    batch = [{"image": torch.rand(3, *t.gt_masks.shape[1:]) * 255, "instances": t} for t in targets]
    losses = model(batch)
    assert sorted(losses) == sorted(f"loss_{k}{s}" for k in ("ce", "mask", "dice") for s in ("", "_0"))
    torch.stack(list(losses.values())).sum().backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
