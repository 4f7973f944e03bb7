"""All readers by name."""

import os

from .annotations import ANNOTATION_READERS
from .archives import ARCHIVE_READERS
from .captions import CAPTION_READERS
from .media import MEDIA_READERS
from .reader import Reader
from .selftest import SELFTEST
from .settings import SETTING_READERS
from .video_maps import VIDEO_MAP_READERS
from .weights import WEIGHT_READERS

__all__ = ["READERS"]

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        *ANNOTATION_READERS,
        *VIDEO_MAP_READERS,
        *MEDIA_READERS,
        *ARCHIVE_READERS,
        *CAPTION_READERS,
        *WEIGHT_READERS,
        *SETTING_READERS,
    )
}
if os.environ.get("DENSE_FUZZ_SELFTEST"):  # test_fuzz.py: the worker gets one that misbehaves
    READERS[SELFTEST.name] = SELFTEST
