"""Lost AP of a kind of error: AP after an oracle has mended all errors of that kind, less AP (Bolya et al., section 2.3).

The oracle, for all errors of the kinds given: of the wrong predictions that concern an object nobody found, the best scored
becomes right (its category, masks and extent are mended, its score stays); every other wrong prediction, and each that concerns
a found object or none, is taken away. Missed objects are no longer asked for; a category of which no object is left counts 100.

Nothing else can change by that: what was right stays right, since no other prediction reached the object that is now taken. So
matches are mended where they are, and the evaluator's ``precision_recall`` gives the new AP, never below the old one.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from dense.evaluation.average_precision import Protocol, SceneMatches, precision_recall

__all__ = ["MatchLedger"]


@dataclass
class MatchLedger:
    """The matches of a whole data set, prediction by prediction and object by object, and its errors.

    ``add_prediction``, ``add_object`` and ``add_error`` fill it, by category index; predictions of a category come in the
    evaluator's order: by video id, then by falling score.
    """

    num_categories: int
    predictions: list[tuple[int, float, bool, bool]] = field(default_factory=list)  # category, score, matched, ignored
    objects: list[tuple[int, bool]] = field(default_factory=list)  # category, is it found?
    errors: list[tuple[str, int, int]] = field(default_factory=list)  # kind, prediction or -1, object or -1

    def add_prediction(self, category: int, score: float, *, matched: bool, ignored: bool) -> int:
        """Enter one scored prediction; returns its number."""
        self.predictions.append((category, score, matched, ignored))
        return len(self.predictions) - 1

    def add_object(self, category: int, *, found: bool) -> int:
        """Enter one object to be found (no crowd); returns its number."""
        self.objects.append((category, found))
        return len(self.objects) - 1

    def add_error(self, kind: str, prediction: int, target: int) -> None:
        """Enter one error by the numbers of its prediction (-1: a missed object) and of the object concerned (-1: none)."""
        self.errors.append((kind, prediction, target))

    def average_precision(self, protocol: Protocol, mended: Collection[str] = ()) -> float:
        """AP in percent over all categories with objects, NaN if there are none.

        Args:
            protocol: one area range, one limit; all predictions entered are scored.
            mended: kinds of errors that the oracle mends first.
        """
        category = np.array([p[0] for p in self.predictions], np.int64)
        scores = np.array([p[1] for p in self.predictions], float)
        matched, ignored = (np.array([p[i] for p in self.predictions], bool) for i in (2, 3))
        wanted = np.bincount([k for k, _ in self.objects], minlength=self.num_categories)
        left = wanted.copy()
        kept = np.ones(len(scores), bool)
        taken: set[int] = set()
        for kind, prediction, target in sorted(self.errors, key=lambda error: -scores[error[1]] if error[1] >= 0 else 0.0):
            if kind not in mended:
                continue
            if prediction < 0:
                left[self.objects[target][0]] -= 1
            elif target >= 0 and not self.objects[target][1] and target not in taken and kind != "false alarm":
                taken.add(target)
                matched[prediction], category[prediction] = True, self.objects[target][0]
            else:
                kept[prediction] = False
        values = []
        for k in np.flatnonzero(wanted):
            chosen = kept & (category == k)
            values.append(_category_ap(scores[chosen], matched[chosen], ignored[chosen], int(left[k]), protocol))
        return 100 * float(np.mean(values)) if values else float("nan")


def _category_ap(scores: np.ndarray, matched: np.ndarray, ignored: np.ndarray, num_objects: int, protocol: Protocol) -> float:
    """AP of one category in [0, 1] from its matches."""
    if not num_objects:
        return 1.0
    nowhere = np.full((1, 1, len(scores)), -1)
    scene = SceneMatches(scores, matched[None, None], ignored[None, None], nowhere, np.array([num_objects]))
    unlimited = Protocol(protocol.iou_thresholds, protocol.recall_points, (max(len(scores), 1),))
    return float(precision_recall([scene], unlimited)[0].mean())
