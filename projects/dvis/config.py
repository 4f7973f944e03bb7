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
    segmenter.TEST.PRESENCE_THRESHOLD = 0.0  # least probability of an object in a frame for its mask there to count; 0: any
    segmenter.TEST.MAX_NUM = 20  # (object, class) pairs kept per video

    cfg.MODEL.ASSOCIATION = CfgNode()  # how VideoSegmenter keeps the order of its queries
    cfg.MODEL.ASSOCIATION.NAME = "FrameAssociation"  # MinVIS; or MemoryAssociation
    cfg.MODEL.ASSOCIATION.DECAY = 0.9  # of MemoryAssociation: what old evidence keeps per frame, in [0, 1]

    cfg.MODEL.TRACKER = CfgNode()
    cfg.MODEL.TRACKER.NAME = "ReferringTracker"
    cfg.MODEL.TRACKER.DECODER_LAYERS = 6
    cfg.MODEL.TRACKER.NOISE_MODE = "NoNoise"  # or RandomShuffle, WeightedAverage, CropConcatenate (officially none, rs, wa, cc)
    cfg.MODEL.TRACKER.NOISE_RATIO = 0.5  # share of frames with noise
    cfg.MODEL.TRACKER.USE_CL = True  # contrastive loss on references
    cfg.MODEL.REFINER = CfgNode()
    cfg.MODEL.REFINER.NAME = "TemporalRefiner"
    cfg.MODEL.REFINER.DECODER_LAYERS = 6
    cfg.MODEL.REFINER.USE_CL = True  # contrastive loss with a memory of earlier videos
    cfg.MODEL.REFINER.WINDOW = 0  # frames refined together at inference; 0: the whole video; a stream without end needs a limit

    plugin = cfg.MODEL.CL_PLUGIN = CfgNode()
    plugin.ENABLED = False  # contrastive training of a VideoSegmenter (official: architecture CTMinVIS)
    plugin.CL_PLUGIN_NAME = "TrackletContrast"
    plugin.REID_WEIGHT, plugin.AUX_REID_WEIGHT = 2.0, 3.0
    plugin.NUM_NEGATIVES = 99  # queries - 1
    plugin.MOMENTUM_EMBED = True  # every second time an object is compared with its fused embedding, not its last one
    plugin.NOISE_EMBED = False  # an absent object gets, in one of 1,000 frames, a random query as its positive
    plugin.LATER_POSITIVE = "next"  # for an object not seen before; or published: with the slip of the official code
    plugin.FUSION_LOSS, plugin.BIO_CL, plugin.ONE_DIRECTION = False, False, True

    cfg.DATASETS.OV = True  # open vocabulary: names of all training sets together
    cfg.DATASETS.TEST2TRAIN = [None]  # training set whose names each test set uses, in the all-vocabulary mode
    _add_daq_config(cfg)


def _add_daq_config(cfg: CfgNode) -> None:
    """Keys of DVIS-DAQ (dynamic anchor queries); its files are read, the model is not part of this toolbox."""
    cfg.INPUT.USING_FRAME_NUM, cfg.INPUT.STEPS = None, None  # curriculum: frames per clip, and from which iterations
    head = cfg.MODEL.VIDEO_HEAD = CfgNode()
    head.NUM_NEW_INS, head.NUM_SLOTS, head.OFFLINE_TOPK_NUM, head.NOISE_FRAME_NUM = 10, 5, 20, 1
    head.TRAINING_SELECT_THRESHOLD, head.INFERENCE_SELECT_THRESHOLD = 0.1, 0.1
    head.AUX_INFERENCE_SELECT_THRESHOLD, head.DIS_FG_THRESHOLD, head.MASK_NMS_THR = 0.01, 0.01, 0.6
    head.USING_THR, head.CL_ON_SLOTS, head.OVIS_INFER, head.USE_LOCAL_ATTN = False, False, False, False
    head.SKIP_PARAMS = []
    head.TEMPORAL_SCORE_TYPE = "mean"
