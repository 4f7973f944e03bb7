"""Configuration of one objective as a node, and building from it."""

from detectron2.config import CfgNode

import dense.modeling.objectives.cacr
import dense.modeling.objectives.clip
import dense.modeling.objectives.dcl
import dense.modeling.objectives.focal_contrastive
import dense.modeling.objectives.infonce
import dense.modeling.objectives.local_pairs
import dense.modeling.objectives.multiview
import dense.modeling.objectives.negclip
import dense.modeling.objectives.swav  # noqa: F401  importing registers them
from dense.modeling.objectives.base import Objective
from dense.modeling.registries import OBJECTIVES

__all__ = ["build_objective", "objective_node"]


def objective_node(name: str = "") -> CfgNode:
    """A node with the keys of every objective and their defaults, to be put where a system wants it.

    Args:
        name: value of NAME.
    """
    node = CfgNode()
    node.NAME = name  # entry of OBJECTIVES; "" = none
    node.WEIGHT = 1.0  # factor of its loss
    node.TEMPERATURE = 0.1
    node.LEARN_TEMPERATURE = False
    node.GATHER = "grad"  # columns of all processes; "none" = own ones
    node.CHUNK_SIZE = 0  # columns of a similarity matrix that are in memory at once; 0 = all
    node.DIAG_PERIOD = 50  # diagnostics every so many steps; 0 = never
    node.DIM = 128  # width of the embeddings, for queues and prototypes
    node.QUEUE_SIZE = 0  # rows; InfoNCE with FORM "queue", SwAV, CACR
    node.FORM = "ntxent"  # InfoNCE: ntxent, oneway, queue, multi_positive
    node.POSITIVES = "out"  # InfoNCE with several positives: mean outside the logarithm; "in" = inside
    node.DIRECTIONS = "mean"  # DCL: of both directions; "sum" as trained publicly
    node.DETACH_WEIGHT = False  # DCLW: the weight is a constant in the backward pass
    node.SIGMA = 0.5  # DCLW: temperature of the weights
    node.ENERGY = "all"  # MVInfoNCE: "cross" = other views only
    node.PER_VIEW_SCALE = False  # MVDHEL: divide by the number of views
    node.ALPHA, node.BETA = 1.0, 1.0  # CACR: weights of attraction and repulsion
    node.T_POS, node.T_NEG = 1.0, 2.0  # CACR: sharpness of the weights (negatives 0.9 on CIFAR-10)
    node.DETACH_WEIGHTS = False  # CACR: the weights are constants in the backward pass
    node.COST, node.SUM_BATCH = "rbf", True  # CACRMomentum: or "euclidean", which is summed over the batch
    node.PROTOTYPES, node.EPSILON, node.SINKHORN_ITERS = 3000, 0.05, 3  # SwAV
    node.ASSIGNING = 2  # SwAV: crops that give assignments, the first ones
    node.FREEZE_PROTOTYPES_ITERS = 0  # SwAV: first steps without gradient for prototypes (313 at batch 4096, 5005 at 256)
    node.QUEUE_START = 0  # SwAV: step from which the queue is used (published: epoch 15)
    node.LABEL_SMOOTHING, node.DUPLICATES = 0.0, "mask"  # CLIP, ALIGN (0.1): equal captions: "mask", "positive", "ignore"
    node.FOCAL_ALPHA, node.FOCAL_GAMMA = 0.5, 1.0  # FocalContrastive: weight of true pairs, exponent
    node.LOCAL_TEMPERATURE, node.LOCAL_SMOOTHING = 0.1, 0.1  # CL2L: of the local pairs
    node.W_IGC, node.W_TGC, node.W_DISTILL = 0.1, 0.1, 0.005  # DeGLA: image-grounded, text-grounded, distillation
    node.TGC_LAYOUT = "own"  # DeGLA: false versions of a caption's own; "published" = as the public code pairs them
    return node


def build_objective(node: CfgNode) -> Objective:
    """The objective that ``node.NAME`` names. Raises: ConfigError for an unknown name or a value outside its range."""
    objective: Objective = OBJECTIVES.get(node.NAME)(node)
    return objective
