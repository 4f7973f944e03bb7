"""Configuration keys of DITO's detector (finetuning and inference); values are the published ones."""

import math

from detectron2.config import CfgNode

from dense.config.architectures import DETECTORS
from dense.config.checks import Range, check_choice, check_multiples, check_ranges
from dense.errors import ConfigError
from dense.projects.dito.canvas import PADDINGS

__all__ = ["ABSENT_ROWS", "SOURCES", "add_detection_config", "canvas_divisor", "check_detection_config"]

SOURCES = ("frozen", "trainable", "none")
ABSENT_ROWS = ("mask", "keep")

DETECTORS["OpenVocabularyDetector"] = "MODEL.DITO.NUM_CLASSES"

_COUNT = (1, math.inf)
_SHARE = (0, 1)
_DITO = "MODEL.DITO."
_RANGES: dict[str, Range] = {
    f"{_DITO}NUM_CLASSES": (1, 1_000_000),
    f"{_DITO}CANVAS.SIDE": (0, math.inf),
    f"{_DITO}PROPOSALS.ANCHOR_SCALE": (1e-3, math.inf),
    f"{_DITO}PROPOSALS.BEFORE": _COUNT,
    f"{_DITO}PROPOSALS.AFTER": _COUNT,
    f"{_DITO}PROPOSALS.OVERLAP_TRAIN": (1e-6, 1),
    f"{_DITO}PROPOSALS.OVERLAP_TEST": (1e-6, 1),
    f"{_DITO}PROPOSALS.SAMPLES": _COUNT,
    f"{_DITO}PROPOSALS.POSITIVES": _SHARE,
    f"{_DITO}REGIONS.SAMPLES": _COUNT,
    f"{_DITO}REGIONS.FOREGROUND": _SHARE,
    f"{_DITO}REGIONS.MASKS": (0, math.inf),
    f"{_DITO}REGIONS.MOST_OBJECTS": _COUNT,
    f"{_DITO}REGIONS.TEMPERATURE": (1e-6, math.inf),
    f"{_DITO}REGIONS.BACKGROUND_WEIGHT": (0, math.inf),
    f"{_DITO}DISTILLATION.WEIGHT": (0, math.inf),
    f"{_DITO}FUSION.TEMPERATURE": (1e-6, math.inf),
    f"{_DITO}FUSION.BASE": _SHARE,
    f"{_DITO}FUSION.NOVEL": _SHARE,
    f"{_DITO}FUSION.OBJECTNESS": (0, math.inf),
    f"{_DITO}FUSION.SHRINK": (1e-3, math.inf),
    f"{_DITO}TEST.OVERLAP": (1e-6, math.inf),
    f"{_DITO}TEST.SCORE": (0, 1),
    f"{_DITO}TEST.PER_CLASS": _COUNT,
    f"{_DITO}TEST.DETECTIONS": _COUNT,
}


def add_detection_config(cfg: CfgNode) -> None:
    """Add the detector's keys to ``cfg.MODEL.DITO`` in place."""
    dito = cfg.MODEL.DITO
    dito.NUM_CLASSES = 80  # of the training set; row k + 1 of its vocabulary is class k
    dito.VOCABULARY = CfgNode()  # files of text embeddings: background in row 0
    dito.VOCABULARY.TRAIN = ""
    dito.VOCABULARY.TEST = ""  # "" = that of training
    dito.VOCABULARY.ABSENT_ROWS = "mask"  # in training, classes that are no base classes: out of the softmax; or "keep"
    dito.CANVAS = CfgNode()
    dito.CANVAS.SIDE = 1024  # square that pictures lie on, pixels; larger ones lie on multiples of patch x windows; 0 = always
    dito.CANVAS.PADDING = "clip_mean"  # colour of the rest; "black" in the reference's demo
    _add_training(dito)
    _add_inference(dito)


def _add_training(dito: CfgNode) -> None:
    proposals = dito.PROPOSALS = CfgNode()
    proposals.ANCHOR_SCALE = 8.0  # side of the anchors in strides
    proposals.BEFORE, proposals.AFTER = 2000, 1000  # best of each level before suppression; after it, and of all levels
    proposals.OVERLAP_TRAIN, proposals.OVERLAP_TEST = 0.7, 1.0  # suppression from this IoU on; 1 = only duplicates
    proposals.SAMPLES, proposals.POSITIVES = 256, 255 / 256  # anchors per image that learn a score; share of matched ones
    regions = dito.REGIONS = CfgNode()
    regions.SAMPLES, regions.FOREGROUND = 512, 0.25  # per image; greatest share of objects
    regions.MASKS = 128  # foreground regions per image that learn a mask
    regions.MOST_OBJECTS = 300  # objects of an image that are learnt from
    regions.TEMPERATURE = 0.01  # of the classifier, times a learnt factor that begins at 1
    regions.BACKGROUND_WEIGHT = 0.9  # of background regions in the classification loss
    regions.LEGACY_PLUS_ONE = True  # sides of boxes are x2 - x1 + 1 in the coder, as in the published weights
    dito.DISTILLATION = CfgNode(
        {"WEIGHT": 0.0}
    )  # of 1 - cosine to the frozen transformer in objects; 1 is like the 2nd version


def _add_inference(dito: CfgNode) -> None:
    fusion = dito.FUSION = CfgNode()
    fusion.SOURCE = "frozen"  # transformer whose map is scored too; "trainable" = the detector's own, "none" = detector only
    fusion.TEMPERATURE = 0.01  # of those scores
    fusion.BASE, fusion.NOVEL = 0.35, 0.65  # exponents of that probability; the detector's has the rest to 1
    fusion.INDICATOR = True  # use the vocabulary's base marks; False = the novel exponent for all, as the reference evaluates
    fusion.OBJECTNESS = 3.0  # exponent
    fusion.SHRINK = 0.7  # of proposals about their centres, before that map is read
    test = dito.TEST = CfgNode()
    test.OVERLAP = 0.5  # suppression within a class from this IoU on
    test.SCORE = 0.0  # scores must be above
    test.PER_CLASS, test.DETECTIONS = 1000, 300  # candidates of a class; detections of an image


def check_detection_config(cfg: CfgNode) -> None:
    """Compare the detector's keys with what they can be. Raises: ConfigError naming the key."""
    check_ranges(cfg, _RANGES)
    dito = cfg.MODEL.DITO
    check_choice(f"{_DITO}FUSION.SOURCE", dito.FUSION.SOURCE, SOURCES)
    check_choice(f"{_DITO}VOCABULARY.ABSENT_ROWS", dito.VOCABULARY.ABSENT_ROWS, ABSENT_ROWS)
    check_choice(f"{_DITO}CANVAS.PADDING", dito.CANVAS.PADDING, list(PADDINGS))
    check_multiples(
        cfg, f"{_DITO}CANVAS.SIDE", [(canvas_divisor(cfg), "patches of 16 pixels in whole windows, pyramid to stride 32")]
    )
    if cfg.INPUT.FORMAT != "RGB":
        raise ConfigError(f"INPUT.FORMAT: {cfg.INPUT.FORMAT!r}, but this detector reads RGB. Set it to RGB.")


def canvas_divisor(cfg: CfgNode) -> int:
    """Sides of the canvas are multiples of this, pixels: whole windows of patches, and cells of stride 32."""
    return math.lcm(32, 16 * max(cfg.MODEL.DITO.BACKBONE.WINDOW_GRID, 1))
