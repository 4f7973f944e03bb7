"""Detectron2's detectors behind our adapter: losses in training, states for resuming, one kind of error."""

import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances

from dense import load_config
from dense.data.mappers import DetectionTargets
from dense.errors import ConfigError, NonFiniteError
from dense.modeling import build_model
from dense.modeling.video import RemembersTraining

WORLD = "configs/pixpro/transfer/world_mask_rcnn.yaml"
DENSE = ["MODEL.MASK_ON", "False", "MODEL.FPN.IN_FEATURES", "['res3', 'res4']", "MODEL.ANCHOR_GENERATOR.SIZES", "[[16], [32]]"]
ARCHITECTURES = {
    "GeneralizedRCNN": [],
    "RetinaNet": [*DENSE, "MODEL.RETINANET.IN_FEATURES", "['p3', 'p4']", "MODEL.RETINANET.NUM_CLASSES", "14"],
    "FCOSDetector": [*DENSE, "MODEL.FCOS.IN_FEATURES", "['p3', 'p4']", "MODEL.FCOS.NUM_CLASSES", "14"],
}


def build(name, *options):
    """A model of the world's size."""
    torch.manual_seed(0)
    return build_model(load_config(WORLD, ["MODEL.META_ARCHITECTURE", name, *ARCHITECTURES[name], *options]))


def targets(masks=True):
    """Two objects in a picture of 64 x 80 pixels."""
    boxes = torch.tensor([[4.0, 4, 36, 30], [40.0, 20, 70, 60]])
    inside = torch.zeros(2, 64, 80, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(inside, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    return DetectionTargets((64, 80), boxes, torch.tensor([3, 0]), inside if masks else None)


def batch(instances):
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (3, 64, 80), generator=generator, dtype=torch.uint8)
    return [{"image": image, "instances": each, "height": 64, "width": 80, "file_name": "a"} for each in instances]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_detector__training_step__losses_with_gradients(name):
    """Catches targets that do not arrive, a missing event storage, and pictures without objects."""
    model = build(name)
    masks = name == "GeneralizedRCNN"
    empty = DetectionTargets((64, 80), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 64, 80).bool())
    losses = model(batch([targets(masks), empty if masks else DetectionTargets(empty.size, empty.boxes, empty.labels, None)]))
    assert ("loss_mask" in losses) == masks
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    stem = next(value for key, value in model.named_parameters() if key.endswith("stem.conv1.weight"))
    assert stem.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_detector__evaluation__instances_at_the_asked_size(name):
    """Catches an adapter that changes what the model returns, or asks for targets in evaluation."""
    model = build(name, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0).eval()
    record = {key: value for key, value in batch([targets()])[0].items() if key != "instances"}
    (result,) = model([{**record, "height": 128, "width": 160}])
    assert result["instances"].image_size == (128, 160)
    assert "instance" in model.tasks
    assert type(model).__name__ == name


def test_detector__own_instances__pass():
    """Catches a mapper of Detectron2's that no longer fits: its losses must be those of our targets."""
    model, ours = build("GeneralizedRCNN"), targets()
    theirs = Instances(ours.size, gt_boxes=Boxes(ours.boxes), gt_classes=ours.labels, gt_masks=BitMasks(ours.masks))
    results = []
    for given in (ours, theirs):
        torch.manual_seed(5)
        results.append({key: float(value) for key, value in model(batch([given])).items()})
    assert results[0] == pytest.approx(results[1])


def test_detector__proposals_not_finite__non_finite_error():
    """Catches Detectron2's FloatingPointError, which the trainer does not know."""
    model = build("GeneralizedRCNN")
    with torch.no_grad():
        model.proposal_generator.rpn_head.anchor_deltas.bias.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="proposals"):
        model(batch([targets()]))


@pytest.mark.parametrize("name", ["RetinaNet", "FCOSDetector"])
def test_dense_detector__state_of_training__losses_go_on(name):
    """Catches a continued run that divides its losses by the number of a new one."""
    first, second = build(name), build(name)
    assert isinstance(first, RemembersTraining)
    assert first.training_state() == {}
    first(batch([targets(False)]))
    second.load_training_state(first.training_state())
    second.load_state_dict(first.state_dict())
    one, other = (model(batch([targets(False)])) for model in (first, second))
    assert {k: float(v) for k, v in one.items()} == pytest.approx({k: float(v) for k, v in other.items()})
    fresh = build(name)
    fresh.load_state_dict(first.state_dict())
    assert {k: float(v) for k, v in fresh(batch([targets(False)])).items()} != pytest.approx(
        {k: float(v) for k, v in other.items()}
    )
    with pytest.raises(ValueError, match="above 0"):
        second.load_training_state({"loss_normalizer": -1.0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["MODEL.ROI_HEADS.NAME", "StandardROIHead"], "MODEL.ROI_HEADS.NAME: unknown 'StandardROIHead'. Did you mean"),
        (["MODEL.BACKBONE.NAME", "build_narrow_resnet"], "MODEL.BACKBONE.NAME: unknown"),
        (["MODEL.ROI_HEADS.NUM_CLASSES", 0], "MODEL.ROI_HEADS.NUM_CLASSES: 0"),
        (["MODEL.KEYPOINT_ON", True], "KEYPOINT_ON"),
        (["MODEL.RPN.IN_FEATURES", "['p7']"], "cannot be built of it"),
        (["MODEL.RESNETS.DEPTH", 50], "MODEL.RESNETS.DEPTH: 50, expected 18 or 34"),
    ],
)
def test_build_model__wrong_detector__config_error(options, message):
    """Catches Detectron2's own assertions and key errors."""
    with pytest.raises(ConfigError, match=message):
        build("GeneralizedRCNN", *options)
