"""After a test set's results are written: say where they are, score them where the annotations are public."""

import logging
from collections.abc import Callable
from pathlib import Path

from dense.data.formats.youtube_vis import AnnotationsMissingError

__all__ = ["score_written"]

logger = logging.getLogger(__name__)


def score_written(name: str, path: Path, evaluate: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Score the results of data set ``name`` that lie at ``path``.

    Returns: the figures of ``evaluate``; none where the data set comes without annotations.
    """
    logger.info("%s: wrote %s", name, path)
    try:
        return evaluate()
    except AnnotationsMissingError as error:
        logger.info("%s: evaluation skipped: %s", name, error)
        return {}
