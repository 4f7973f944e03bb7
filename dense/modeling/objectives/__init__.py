"""Contrastive objectives over embeddings of images, pixels, regions or objects.

``config``       ``objective_node``, ``build_objective``: from a configuration to an objective (start here)
``base``         ``Objective``: the call they share, its checks; ``ObjectiveOutput``; ``batch``: the rows of one call
``infonce``      InfoNCE, NT-Xent, with a queue, with several positives    ``dcl``    DCL, DCLW
``swav``         SwAV; ``sinkhorn``: balanced assignments                  ``cacr``   attraction and repulsion; momentum form
``multiview``    MV-InfoNCE, MV-DHEL                                       ``clip``   CLIP, ALIGN
``negclip``      NegCLIP, DeGLA    ``local_pairs``  CL2L    ``focal_contrastive``  RO-ViT's focal form of CLIP
``similarity``   sums over the columns of a similarity matrix, dense or in blocks
``gathering``    rows and means over processes    ``queue``  ``temperature``  ``checking``   parts
``diagnostics``  alignment, uniformity, rank, hardness of negatives, ``CollapseWatch``

Figures and formulas: the docstring of each class names the paper.
"""

from dense.modeling.objectives.base import Objective, ObjectiveOutput
from dense.modeling.objectives.config import build_objective, objective_node

__all__ = ["Objective", "ObjectiveOutput", "build_objective", "objective_node"]
