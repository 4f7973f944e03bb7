"""The FCN: labels from regions, a loss over labelled pixels, results at the asked size."""

import pytest
import torch
import torch.nn.functional as F

from dense import load_config
from dense.data.mappers import ImageTargets
from dense.errors import ConfigError
from dense.modeling import build_model

OPTIONS = {
    "MODEL.META_ARCHITECTURE": "FCNSegmenter",
    "MODEL.DEVICE": "cpu",
    "MODEL.BACKBONE.NAME": "build_narrow_resnet_backbone",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.RESNETS.DEPTH": 18,
    "MODEL.RESNETS.NORM": "BN",
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 8,
    "MODEL.RESNETS.OUT_FEATURES": "['res4']",
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": "['res4']",
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 5,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 16,
    "MODEL.SEM_SEG_HEAD.NORM": "BN",
}


def build(**changes):
    torch.manual_seed(0)
    options = OPTIONS | {key.replace("__", "."): value for key, value in changes.items()}
    return build_model(load_config(None, [word for pair in options.items() for word in pair]))


def record(labels):
    """A picture with the regions of a label map, -1 = unlabelled."""
    classes = [c for c in labels.unique().tolist() if c >= 0]
    masks = torch.stack([labels == c for c in classes]) if classes else torch.zeros(0, *labels.shape, dtype=torch.bool)
    image = torch.randint(0, 256, (3, *labels.shape), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    return {"image": image, "instances": ImageTargets(torch.tensor(classes, dtype=torch.int64), masks)}


def test_fcn_segmenter__pictures_of_two_sizes__cross_entropy_of_the_labelled_pixels():
    """Catches padding that is learnt from, classes shifted by one, a mean over unlabelled pixels."""
    model = build()
    first = torch.full((48, 64), -1)
    first[:20, :30], first[20:, :] = 4, 1
    second = torch.full((40, 56), 2)
    losses = model([record(first), record(second)])
    target = torch.full((2, 48, 64), -1)
    target[0], target[1, :40, :56] = first, second
    model.train()
    stack = model.preprocessor([record(first)["image"], record(second)["image"]])
    logits = model.classifier(model.convs(model.backbone(stack.tensor)["res4"]))
    logits = F.interpolate(logits, size=stack.padded, mode="bilinear", align_corners=False)[..., :48, :64]
    expected = F.cross_entropy(logits.permute(0, 2, 3, 1)[target >= 0], target[target >= 0])
    assert float(losses["loss_sem_seg"]) == pytest.approx(float(expected), rel=1e-5)


def test_fcn_segmenter__nothing_labelled__loss_0():
    """Catches the NaN of a mean over no pixel, which would end a run."""
    assert float(build()([record(torch.full((32, 32), -1))])["loss_sem_seg"]) == 0


def test_fcn_segmenter__evaluation__scores_at_the_asked_size():
    """Catches results at the network's size."""
    model = build().eval()
    (result,) = model([{"image": torch.zeros(3, 33, 50), "height": 66, "width": 100}])
    assert tuple(result["sem_seg"].shape) == (5, 66, 100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MODEL__SEM_SEG_HEAD__IN_FEATURES": "['res9']"}, "the backbone has res4, not 'res9'"),
        ({"MODEL__FCN__DILATION": 0}, "MODEL.FCN.DILATION: 0"),
        ({"MODEL__BACKBONE__NAME": "ResNet"}, "MODEL.BACKBONE.NAME: unknown"),
    ],
)
def test_fcn_segmenter__wrong_value__config_error(changes, message):
    """Catches torch's and Detectron2's own errors."""
    with pytest.raises(ConfigError, match=message):
        build(**changes)
