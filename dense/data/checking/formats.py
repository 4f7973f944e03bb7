"""One check per format, and a report even for a file that cannot be read at all."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dense.data.checking.instances import check_coco, check_youtube_vis
from dense.data.checking.panoptic import check_panoptic, check_vipseg
from dense.data.checking.report import CheckReport
from dense.data.checking.semantic import check_semantic, check_vspw
from dense.data.checking.targets import FORMATS, Target
from dense.data.formats.faults import FaultLog
from dense.errors import ConfigError, DataError
from dense.io import read_json

__all__ = ["check_target"]

_JSON: dict[str, Callable[[Target, Any, int], CheckReport]] = {
    "coco": check_coco,
    "coco-panoptic": check_panoptic,
    "youtube-vis": check_youtube_vis,
    "vipseg": check_vipseg,
}
_FOLDERS: dict[str, Callable[[Target, int], CheckReport]] = {"semantic": check_semantic, "vspw": check_vspw}


def check_target(target: Target, *, pictures: bool = True, decode: bool = True, workers: int = 2) -> CheckReport:
    """Check a data set to the last record and file.

    Args:
        target: from ``find_targets``.
        pictures: also look at the pictures; the PNG files of maps are always read.
        decode: read every pixel of them, not only headers.
        workers: threads that read files.

    Returns: every fault; a file that cannot be read, or is of another format, is one fault of kind ``file``.
    Raises: ConfigError for an unknown format, or label maps without names of their classes.
    """
    if target.format not in FORMATS:
        raise ConfigError(f"format {target.format!r}: expected one of {', '.join(FORMATS)}.")
    chosen = replace(target, check_pictures=pictures, decode=decode)
    try:
        if chosen.format in _JSON:
            return _JSON[chosen.format](chosen, read_json(chosen.source), workers)
        return _FOLDERS[chosen.format](chosen, workers)
    except DataError as error:
        log = FaultLog(target.source)
        log.error("file", str(error))
        return CheckReport(target.source, target.format, log)
