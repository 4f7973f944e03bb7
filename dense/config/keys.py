"""Configuration keys of the library's parts, added to Detectron2's defaults; values are the official ones.

Keys marked ``(accepted)`` have no effect here; ``dense.config.official`` lists those that a file sets.
"""

from detectron2.config import CfgNode

__all__ = ["add_library_keys"]


def add_library_keys(cfg: CfgNode) -> None:
    """Add the keys of data, solver, segmenter and backbones to ``cfg`` in place."""
    _input(cfg)
    _solver(cfg)
    _segmenter(cfg)
    _dense_heads(cfg)
    _backbones(cfg)
    _accepted(cfg)
    cfg.SEED = 42  # seed of data order, augmentation, initial weights and sampled points
    cfg.DATASETS.DATASET_RATIO = [1.0]  # share of batches from each training set
    cfg.DATASETS.CACHE = ""  # folder of cache_segmenter.py: clips come from there, and the segmenter does not run in training
    cfg.DATASETS.DATASET_NEED_MAP = [False]  # map categories to those of the last training set
    cfg.DATASETS.DATASET_TYPE = ["video_instance"]  # kind of each training set (dense.data.datasets.KINDS)
    cfg.DATASETS.DATASET_TYPE_TEST = ["video_instance"]  # kind of each test set


def _input(cfg: CfgNode) -> None:
    node = cfg.INPUT
    node.DATASET_MAPPER_NAME = "mask_former_semantic"  # augmentation of images; see dense.data.loaders.image_config
    node.COLOR_AUG_SSD = False  # SSD colour jitter (images)
    node.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0  # (accepted) share of a crop that one category may fill before it is drawn again
    node.SIZE_DIVISIBILITY = -1  # (accepted) padding inside the image mapper, pixels; the model pads
    node.IMAGE_SIZE = 1024  # square canvas of large-scale jitter, pixels
    node.MIN_SCALE, node.MAX_SCALE = 0.1, 2.0  # large-scale jitter
    node.SAMPLING_FRAME_NUM = 2  # frames of a training clip
    node.SAMPLING_FRAME_RANGE = 20  # half window in frames around the reference frame
    node.SAMPLING_FRAME_SHUFFLE = False  # shuffle the clip's frames
    node.SAMPLING_FRAME_RATIO = 1.0  # (accepted)
    node.AUGMENTATIONS = []  # of brightness, contrast, saturation, rotation
    node.REVERSE_AGU = False  # reverse consecutive clips with probability 0.5
    node.PSEUDO = CfgNode()  # clips made of one image
    node.PSEUDO.AUGMENTATIONS = ["rotation"]
    node.PSEUDO.MIN_SIZE_TRAIN = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768)
    node.PSEUDO.MAX_SIZE_TRAIN = 768
    node.PSEUDO.MIN_SIZE_TRAIN_SAMPLING = "choice_by_clip"
    node.PSEUDO.CROP = CfgNode({"ENABLED": False, "TYPE": "absolute_range", "SIZE": (384, 600)})
    node.LSJ_AUG = CfgNode({"ENABLED": False, "IMAGE_SIZE": 1024, "MIN_SCALE": 0.1, "MAX_SCALE": 2.0})
    views = node.VIEWS = CfgNode()  # two views of an image for pretraining; see dense.data.loaders.views_config
    views.SIZE = 224  # side of a view, pixels
    views.MIN_AREA = 0.08  # least share of the image's area in a view
    views.TRANSFORM = "BYOL"  # colours: BYOL, InstDisc, MoCov2, SimCLR, RandAug, NULL (see dense.data.transforms.views)
    views.BLUR_SIGMA = (0.1, 2.0)  # range of the blur's standard deviation, pixels of the view; scale it with SIZE / 224
    views.SMALL_NUM = 0  # further small crops without coordinates (SwAV)
    views.SMALL_SIZE = 96  # their side, pixels
    views.SMALL_AREA = (0.05, 0.14)  # their share of the image's area
    views.REDUCED_DECODING = True  # decode JPEGs much larger than their views at 1/2, 1/4 or 1/8; coordinates stay exact
    captions = node.CAPTIONS = CfgNode()  # images of image-text pretraining; see dense.data.loaders.captions_config
    captions.SIZE = 224  # side, pixels
    captions.MIN_AREA = 0.9  # least share of the picture's area that an image shows
    captions.ASPECT = (0.75, 1.3333333333333333)  # range of the crop's width over height, before it is made square
    captions.INTERPOLATION = "bicubic"  # or bilinear; both without aliasing
    captions.FLIP = False  # mirror every second image; captions that say left and right are wrong then
    captions.IMAGE_COLUMN = captions.CAPTION_COLUMN = ""  # columns of CSV, TSV, JSONL; empty = a usual name


def _solver(cfg: CfgNode) -> None:
    cfg.SOLVER.OPTIMIZER = "ADAMW"  # or SGD, LARS
    cfg.SOLVER.BETAS = (0.9, 0.999)  # AdamW's decay of the means of gradient and squared gradient
    cfg.SOLVER.LARS = CfgNode()  # SGD whose steps are scaled by each tensor's norm; vectors are neither scaled nor decayed
    cfg.SOLVER.LARS.TRUST, cfg.SOLVER.LARS.EPS = 0.001, 1e-8  # relative length of a step; added to the gradient's norm
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.1  # rate's factor of parameters with "backbone" in their module path; not for LARS
    cfg.SOLVER.LR_SCALING = "none"  # BASE_LR times ("linear") IMS_PER_BATCH x ACCUMULATE / LR_REFERENCE_BATCH, or its "sqrt"
    cfg.SOLVER.LR_REFERENCE_BATCH = 256
    cfg.SOLVER.ACCUMULATE = 1  # batches of IMS_PER_BATCH per optimizer step; the gradient is their mean
    cfg.SOLVER.EPOCHS = 0.0  # above 0: MAX_ITER, WARMUP_ITERS and STEPS follow from these and the training sets' length
    cfg.SOLVER.WARMUP_EPOCHS = 0.0
    cfg.SOLVER.STEP_EPOCHS = []  # epochs of STEPS
    cfg.SOLVER.WEIGHT_DECAY_EMBED = 0.0  # weight decay of embedding modules
    cfg.SOLVER.EMA_DECAY = 0.0  # decay per step of the moving average of the weights that is evaluated; 0 = none
    cfg.SOLVER.POLY_LR_POWER = 0.9
    cfg.SOLVER.POLY_LR_CONSTANT_ENDING = 0.0
    cfg.SOLVER.LOG_PERIOD = 20  # figures are written every so many steps


def _segmenter(cfg: CfgNode) -> None:
    node = cfg.MODEL.MASK_FORMER = CfgNode()
    node.DEEP_SUPERVISION = True  # losses on every layer's prediction
    node.NO_OBJECT_WEIGHT = 0.1
    node.CLASS_WEIGHT, node.MASK_WEIGHT, node.DICE_WEIGHT = 1.0, 20.0, 1.0  # of losses and costs; papers use 2, 5, 5
    node.NHEADS = 8
    node.DROPOUT = 0.1  # papers use 0
    node.DIM_FEEDFORWARD = 2048
    node.ENC_LAYERS = 0  # (accepted)
    node.DEC_LAYERS = 6  # decoder layers + 1 (the prediction of the raw queries counts)
    node.PRE_NORM = False
    node.HIDDEN_DIM = 256
    node.NUM_OBJECT_QUERIES = 100
    node.TRANSFORMER_IN_FEATURE = "res5"  # only "multi_scale_pixel_decoder" is supported
    node.ENFORCE_INPUT_PROJ = False
    node.SIZE_DIVISIBILITY = 32  # inputs are padded to multiples of this, pixels; negative: ask the backbone
    node.TRANSFORMER_DECODER_NAME = "MaskedDecoder"
    node.TRAIN_NUM_POINTS = 12544  # points per mask in costs and losses
    node.OVERSAMPLE_RATIO = 3.0  # candidates per point
    node.IMPORTANCE_SAMPLE_RATIO = 0.75  # share of the most uncertain candidates
    node.MATCHER_NAME = "HungarianMatcher"
    node.CRITERION_NAME = "SetCriterion"
    node.TEST = CfgNode()
    node.TEST.SEMANTIC_ON, node.TEST.INSTANCE_ON, node.TEST.PANOPTIC_ON = True, False, False
    node.TEST.OBJECT_MASK_THRESHOLD = 0.0  # least score of a panoptic segment; papers use 0.8
    node.TEST.OVERLAP_THRESHOLD = 0.0  # least share of a panoptic segment that stays visible; papers use 0.8
    node.TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE = False
    node.TEST.THING_CLASSES = []  # class indices with instances in panoptic results; empty: those of DATASETS.TRAIN[0]
    head = cfg.MODEL.SEM_SEG_HEAD
    head.MASK_DIM = 256
    head.TRANSFORMER_ENC_LAYERS = 0
    head.PIXEL_DECODER_NAME = "DeformablePixelDecoder"
    head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES = ["res3", "res4", "res5"]
    head.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS = 4  # (accepted)
    head.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS = 8  # (accepted)
    head.RETURN_TRANSFORMER_FEATURE = False  # (accepted)


def _dense_heads(cfg: CfgNode) -> None:
    node = cfg.MODEL.FCOS = CfgNode()  # the model is Detectron2's, which has no keys for it; values are its own defaults
    node.NUM_CLASSES = 80
    node.IN_FEATURES = ["p3", "p4", "p5", "p6", "p7"]
    node.NUM_CONVS = 4  # 3x3 convolutions of each tower
    node.NORM = "GN"  # of the towers
    node.PRIOR_PROB = 0.01
    node.CENTER_SAMPLING_RADIUS = 1.5  # in strides
    node.FOCAL_LOSS_ALPHA, node.FOCAL_LOSS_GAMMA = 0.25, 2.0
    node.SCORE_THRESH_TEST, node.NMS_THRESH_TEST = 0.2, 0.6
    node.TOPK_CANDIDATES_TEST = 1000  # per level
    cfg.MODEL.FCN = CfgNode({"NUM_CONVS": 2, "DILATION": 6})  # FCNSegmenter: 3x3 convolutions before the classifier


def _backbones(cfg: CfgNode) -> None:
    cfg.MODEL.TIMM = CfgNode()  # any backbone of timm with feature maps at strides 4 to 32
    cfg.MODEL.TIMM.NAME = "tf_efficientnet_lite0"
    cfg.MODEL.TIMM.WEIGHTS = ""  # ImageNet weights: a file, or "package:NAME" of a package that carries one; "" = random
    cfg.MODEL.TIMM.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.TIMM.FREEZE_NORM = True  # keep the batch-norm statistics
    cfg.MODEL.SWIN = CfgNode()
    swin = cfg.MODEL.SWIN
    swin.PRETRAIN_IMG_SIZE, swin.PATCH_SIZE, swin.EMBED_DIM = 224, 4, 96
    swin.DEPTHS, swin.NUM_HEADS, swin.WINDOW_SIZE = [2, 2, 6, 2], [3, 6, 12, 24], 7
    swin.MLP_RATIO, swin.QKV_BIAS, swin.QK_SCALE = 4.0, True, None
    swin.DROP_RATE, swin.ATTN_DROP_RATE, swin.DROP_PATH_RATE = 0.0, 0.0, 0.3
    swin.APE, swin.PATCH_NORM, swin.USE_CHECKPOINT = False, True, False
    swin.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    adapter = cfg.MODEL.VIT_ADAPTER = CfgNode()  # DINOv2 with an adapter for dense prediction
    adapter.NAME = "vitl"  # or vitb
    adapter.VIT_WEIGHT = "dinov2_vitl14_pretrain.pth"
    adapter.FREEZE_VIT, adapter.FINETUNE, adapter.FINETUNE_INDEXES = True, False, [0]
    adapter.WITH_CP = True  # recompute activations in the backward pass instead of keeping them
    adapter.INJECTORS = False  # let the adapter flow back into the ViT, as in the ViT-Adapter paper; official: never
    clip = cfg.MODEL.FC_CLIP = CfgNode()  # frozen CLIP towers for open vocabularies
    clip.CLIP_MODEL_NAME, clip.CLIP_PRETRAINED_WEIGHTS = "convnext_large_d_320", "laion2b_s29b_b131k_ft_soup"
    clip.EMBED_DIM = 768
    clip.GEOMETRIC_ENSEMBLE_ALPHA, clip.GEOMETRIC_ENSEMBLE_BETA = 0.4, 0.8  # weight of CLIP's scores: seen, unseen categories
    clip.ENSEMBLE_ON_VALID_MASK = False


def _accepted(cfg: CfgNode) -> None:
    """Keys of DeepLab that official files may carry."""
    cfg.MODEL.RESNETS.RES4_DILATION = 1
    cfg.MODEL.RESNETS.RES5_MULTI_GRID = [1, 2, 4]
    cfg.MODEL.RESNETS.STEM_TYPE = "deeplab"
    head = cfg.MODEL.SEM_SEG_HEAD
    head.LOSS_TYPE = "hard_pixel_mining"
    head.PROJECT_FEATURES, head.PROJECT_CHANNELS = ["res2"], [48]
    head.ASPP_CHANNELS, head.ASPP_DILATIONS, head.ASPP_DROPOUT = 256, [6, 12, 18], 0.1
    head.USE_DEPTHWISE_SEPARABLE_CONV = False
