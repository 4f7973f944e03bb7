"""Configuration keys of the DVIS family; values are the official defaults."""

from detectron2.config import CfgNode

__all__ = ["add_config"]


def add_config(cfg: CfgNode) -> None:
    """Add the keys to ``cfg`` in place."""
    segmenter = cfg.MODEL.MASK_FORMER
    segmenter.REID_BRANCH = True  # tracker and refiner work on query and re-identification embedding joined
    segmenter.REID_HIDDEN_DIM = 256
    segmenter.NUM_REID_HEAD_LAYERS = 3
    segmenter.TEST.WINDOW_INFERENCE = False  # segment a few frames at a time; False: the whole video at once
    segmenter.TEST.WINDOW_SIZE = 3  # frames
    segmenter.TEST.TASK = "vis"  # vis, vss or vps
    segmenter.TEST.MAX_NUM = 20  # (object, class) pairs kept per video

    cfg.MODEL.TRACKER = CfgNode()
    cfg.MODEL.TRACKER.DECODER_LAYERS = 6
    cfg.MODEL.TRACKER.NOISE_MODE = "none"  # none, rs (random shuffle), wa (weighted average), cc (crop and concatenate)
    cfg.MODEL.TRACKER.NOISE_RATIO = 0.5  # share of frames with noise
    cfg.MODEL.TRACKER.USE_CL = True  # contrastive loss on references
    cfg.MODEL.REFINER = CfgNode()
    cfg.MODEL.REFINER.DECODER_LAYERS = 6
    cfg.MODEL.REFINER.USE_CL = True

    plugin = cfg.MODEL.CL_PLUGIN = CfgNode()
    plugin.CL_PLUGIN_NAME = "CTCLPlugin"
    plugin.REID_WEIGHT, plugin.AUX_REID_WEIGHT = 2.0, 3.0
    plugin.NUM_NEGATIVES = 99  # queries - 1
    plugin.MOMENTUM_EMBED, plugin.NOISE_EMBED = True, False
    plugin.FUSION_LOSS, plugin.BIO_CL, plugin.ONE_DIRECTION = False, False, True
