"""Assignment of queries to objects.

``hungarian``  the least total cost of class, mask and dice, frame by frame or clip by clip
"""

from dense.modeling.matchers.hungarian import HungarianMatcher

__all__ = ["HungarianMatcher"]
