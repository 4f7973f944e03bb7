"""Losses.

``points``         random and uncertain points, sampling maps at points (PointRend)
``masks``          binary cross entropy and dice on points, as losses and as pairwise costs
``set_criterion``  classification and mask losses of matched queries, with deep supervision (start here)
"""

from dense.modeling.losses.set_criterion import SetCriterion

__all__ = ["SetCriterion"]
