"""Assignment of queries to objects.

``hungarian``   the least total cost of class, mask and dice, frame by frame or clip by clip
``consistent``  frame by frame, but each object keeps the query of the frame where it is first seen
"""

from dense.modeling.matchers.consistent import ConsistentMatcher
from dense.modeling.matchers.hungarian import HungarianMatcher, Match

__all__ = ["ConsistentMatcher", "HungarianMatcher", "Match"]
