"""Transfer recipes: every number of the published ones, and models that take a pretrained ResNet-50."""

import pickle
from pathlib import Path

import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY

from dense import load_config
from dense.checkpoint.loading import load_checkpoint
from dense.config.checks import value_at
from dense.modeling.meta_archs import trainable

FOLDER = Path(__file__).resolve().parents[3] / "configs" / "pixpro" / "transfer"
SIZES_800 = (640, 672, 704, 736, 768, 800)

COMMON = {
    "MODEL.PIXEL_MEAN": [123.675, 116.280, 103.530],
    "MODEL.PIXEL_STD": [58.395, 57.120, 57.375],
    "INPUT.FORMAT": "RGB",
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.NORM": "SyncBN",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "SOLVER.IMS_PER_BATCH": 16,
    "SOLVER.OPTIMIZER": "SGD",
    "SOLVER.MOMENTUM": 0.9,
    "SOLVER.WEIGHT_DECAY": 1e-4,
    "SOLVER.WEIGHT_DECAY_NORM": 0.0,
    "SOLVER.GAMMA": 0.1,
    "SOLVER.BACKBONE_MULTIPLIER": 1.0,
    "SOLVER.WARMUP_FACTOR": 0.001,
    "SOLVER.WARMUP_METHOD": "linear",
    "SOLVER.CLIP_GRADIENTS.ENABLED": False,
    "SOLVER.EMA_DECAY": 0.0,
    "INPUT.RANDOM_FLIP": "horizontal",
    "TEST.PRECISE_BN.ENABLED": True,
    "TEST.PRECISE_BN.NUM_ITER": 200,
}
DETECTION = {"INPUT.MAX_SIZE_TRAIN": 1333, "INPUT.MAX_SIZE_TEST": 1333, "INPUT.MIN_SIZE_TEST": 800}
R_CNN = {"MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 512, "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 256}
LONG = {"SOLVER.STEPS": (60000, 80000), "SOLVER.MAX_ITER": 90000, "SOLVER.WARMUP_ITERS": 1000}
COCO = {**DETECTION, **LONG, "INPUT.MIN_SIZE_TRAIN": SIZES_800, "DATASETS.TRAIN": ("coco_2017_train",)}
COCO["DATASETS.TEST"] = ("coco_2017_val",)
C4 = {
    **R_CNN,
    "MODEL.ROI_HEADS.NAME": "Res5ROIHeadsExtraNorm",
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 12000,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 2000,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
    "SOLVER.BASE_LR": 0.02,
}
RECIPES = {
    "voc_r50_c4_24k": {
        **C4,
        **DETECTION,
        "DATASETS.TRAIN": ("voc_2007_trainval", "voc_2012_trainval"),
        "DATASETS.TEST": ("voc_2007_test",),
        "MODEL.ROI_HEADS.NUM_CLASSES": 20,
        "MODEL.MASK_ON": False,
        "INPUT.MIN_SIZE_TRAIN": tuple(range(480, 801, 32)),
        "SOLVER.STEPS": (18000, 22000),
        "SOLVER.MAX_ITER": 24000,
        "SOLVER.WARMUP_ITERS": 100,
    },
    "coco_r50_c4_1x": {**C4, **COCO, "MODEL.MASK_ON": True, "MODEL.ROI_HEADS.NUM_CLASSES": 80},
    "coco_r50_fpn_1x": {
        **R_CNN,
        **COCO,
        "SOLVER.BASE_LR": 0.02,
        "MODEL.MASK_ON": True,
        "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
        "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.FPN.NORM": "SyncBN",
        "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
        "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
        "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
        "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 2000,
        "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
        "MODEL.RPN.POST_NMS_TOPK_TRAIN": 1000,
        "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
        "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
        "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
        "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
        "MODEL.ROI_BOX_HEAD.NUM_CONV": 4,
        "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
        "MODEL.ROI_BOX_HEAD.NORM": "SyncBN",
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
        "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
        "MODEL.ROI_MASK_HEAD.NUM_CONV": 4,
        "MODEL.ROI_MASK_HEAD.NORM": "SyncBN",
        "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
    },
    "coco_r50_fcos_1x": {
        **COCO,
        "SOLVER.BASE_LR": 0.01,
        "MODEL.FCOS.NORM": "GN",
        "MODEL.FPN.NORM": "GN",
        "MODEL.FCOS.NUM_CONVS": 4,
    },
    "cityscapes_r50_fcn_90k": {
        "SOLVER.BASE_LR": 0.01,
        "SOLVER.MAX_ITER": 90000,
        "SOLVER.STEPS": (63000, 81000),
        "MODEL.RESNETS.RES5_DILATION": 2,
        "MODEL.FCN.NUM_CONVS": 2,
        "MODEL.FCN.DILATION": 6,
        "MODEL.SEM_SEG_HEAD.CONVS_DIM": 256,
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 19,
        "INPUT.CROP.TYPE": "absolute",
        "INPUT.CROP.SIZE": [769, 769],
        "DATASETS.TRAIN": ("cityscapes_fine_sem_seg_train",),
    },
}


def loaded(name):
    return load_config(FOLDER / f"{name}.yaml", ["MODEL.DEVICE", "cpu"])


def empty_model(cfg):
    """The model of a configuration without the time that drawing its weights takes."""
    with torch.device("meta"):
        model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    return model.to_empty(device="cpu")


@pytest.mark.parametrize("name", RECIPES)
def test_transfer_config__each__has_the_published_numbers(name):
    """Catches a typing error in a recipe, and defaults that moved below it."""
    cfg = loaded(name)
    wrong = {k: value_at(cfg, k) for k, v in {**COMMON, **RECIPES[name]}.items() if value_at(cfg, k) != v}
    assert not wrong


@pytest.mark.parametrize("name", ["voc_r50_c4_24k", "coco_r50_c4_1x", "coco_r50_fpn_1x"])
def test_transfer_config__supervised_baseline__differs_in_input_and_stride_only(name):
    """Catches a baseline with another schedule."""
    ours, baseline = loaded(name), loaded(f"{name}_supervised")
    changed = {"MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD", "MODEL.RESNETS.STRIDE_IN_1X1", "INPUT.FORMAT", "OUTPUT_DIR"}
    assert {key for key in leaves(ours) if value_at(ours, key) != value_at(baseline, key)} == changed
    assert baseline.MODEL.PIXEL_MEAN == [103.530, 116.280, 123.675]
    assert baseline.MODEL.RESNETS.STRIDE_IN_1X1


def leaves(node, prefix=""):
    """Dotted keys."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@pytest.mark.parametrize("name", RECIPES)
def test_transfer_config__each__builds(name):
    """Catches names of features and parts that do not fit each other."""
    with torch.device("meta"):
        cfg = loaded(name)
        model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    assert sum(p.numel() for p in model.parameters()) > 23_000_000


def resnet50():
    """318 tensors under Detectron2's names (spec, section 14), each filled with its own number."""
    tensors = {}

    def conv(name, *shape):
        channels = shape[0]
        tensors[f"{name}.weight"] = shape
        for part in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{name}.norm.{part}"] = (channels,)
        tensors[f"{name}.norm.num_batches_tracked"] = ()

    conv("stem.conv1", 64, 3, 7, 7)
    before = 64
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=2):
        for block in range(blocks):
            at = f"res{stage}.{block}"
            if block == 0:
                conv(f"{at}.shortcut", 4 * width, before, 1, 1)
            conv(f"{at}.conv1", width, before, 1, 1)
            conv(f"{at}.conv2", width, width, 3, 3)
            conv(f"{at}.conv3", 4 * width, width, 1, 1)
            before = 4 * width
    return {name: torch.full(shape, float(k)) for k, (name, shape) in enumerate(tensors.items())}


PLACES = {"coco_r50_c4_1x": "backbone.", "coco_r50_fpn_1x": "backbone.bottom_up."}
NEW = {
    "coco_r50_c4_1x": ("roi_heads.res5.norm.", "proposal_generator.", "roi_heads.box_predictor.", "roi_heads.mask_head."),
    "coco_r50_fpn_1x": ("backbone.fpn_", "proposal_generator.", "roi_heads.box_", "roi_heads.mask_head."),
}


@pytest.mark.parametrize("form", ["backbone.", "pkl"])
@pytest.mark.parametrize("name", PLACES)
def test_load_checkpoint__pretrained_resnet50__only_new_parts_missing(name, form, tmp_path):
    """Catches a last stage that does not reach the RoI head of C4, names that miss the pyramid's, values in wrong places."""
    model = empty_model(loaded(name))
    weights = resnet50()
    assert len(weights) == 318
    if form == "pkl":
        source = tmp_path / "pretrained.pkl"
        plain = {key: value.numpy() for key, value in weights.items()}
        source.write_bytes(pickle.dumps({"model": plain, "__author__": "PixPro", "matching_heuristics": True}))
    else:
        source = {f"{form}{key}": value for key, value in weights.items()}
    report = load_checkpoint(model, source)
    missing = [key for key in report.missing if not key.startswith(NEW[name])]
    counters = [key for key in missing if key.endswith("num_batches_tracked")]
    assert missing == (counters if form == "pkl" else [])
    assert not report.unused
    assert not report.mismatched
    state = model.state_dict()
    for key, value in weights.items():
        stage5 = key.startswith("res5.") and name == "coco_r50_c4_1x"
        ours = f"roi_heads.{key}" if stage5 else f"{PLACES[name]}{key}"
        if not (form == "pkl" and key.endswith("num_batches_tracked")):
            assert torch.equal(state[ours].float(), value), ours


def test_res5_extra_norm__new__changes_nothing_but_scale():
    """Catches a norm before the block, of the wrong width, or not of RESNETS.NORM."""
    cfg = load_config(FOLDER / "voc_r50_c4_24k.yaml", ["MODEL.DEVICE", "cpu", "MODEL.RESNETS.NORM", "FrozenBN"])
    with torch.device("meta"):
        model = META_ARCH_REGISTRY.get("GeneralizedRCNN")(cfg)
    children = [name for name, _ in model.roi_heads.res5.named_children()]
    assert children == ["0", "1", "2", "norm"]
    assert type(model.roi_heads.res5.norm).__name__ == "FrozenBatchNorm2d"
    assert model.roi_heads.res5.norm.weight.shape == (2048,)


def test_fcos__pretrained_towers__first_three_convolutions_arrive():
    """Catches other names of the towers: a pretraining of three convolutions would be lost without a word."""
    model = empty_model(loaded("coco_r50_fcos_1x"))
    torch.nn.init.zeros_(model.head.cls_subnet[9].weight)
    given = {}
    for tower in ("cls_subnet", "bbox_subnet"):
        for place in (0, 3, 6):
            given[f"head.{tower}.{place}.weight"] = torch.full((256, 256, 3, 3), 2.0)
            given[f"head.{tower}.{place + 1}.weight"] = torch.full((256,), 3.0)
    report = load_checkpoint(trainable(model), given)
    assert sorted(report.loaded) == sorted(given)
    assert "head.cls_subnet.9.weight" in report.missing
    assert float(model.head.cls_subnet[9].weight.abs().sum()) == 0
