"""How much a file may ask for: a few bytes from a stranger must not cost gigabytes or hours.

The limits are far above real data. Two can be raised for a process by environment variables: ``DENSE_MAX_MEGAPIXELS``
(pictures, frames and masks) and ``DENSE_MAX_UNPACKED_GB`` (compressed checkpoints).
"""

import math
import os

from dense.errors import ConfigError

__all__ = [
    "DEFAULT_PIXELS",
    "LARGEST_INTEGER",
    "LONGEST_TEXT",
    "MAX_CHECKPOINT_PARTS",
    "MAX_NESTING",
    "MAX_OUTLINE",
    "MAX_XML_BYTES",
    "MAX_YAML_BYTES",
    "MAX_YAML_FILES",
    "MAX_YAML_NODES",
    "max_pixels",
    "max_unpacked_bytes",
]

DEFAULT_PIXELS = 100_000_000
"""Pixels of one picture, frame or mask, unless DENSE_MAX_MEGAPIXELS says otherwise."""

LARGEST_INTEGER = 2**63 - 1
"""Largest id, count or size in a JSON file, positive or negative: what 64 bits hold."""

LONGEST_TEXT = 4096
"""Characters of a name or path in a JSON file."""

MAX_CHECKPOINT_PARTS = 8
"""Weights files that stand one on the other (segmenter, tracker, refiner)."""

MAX_OUTLINE = 2_000_000
"""Length in pixels of the outlines of one mask's polygons: drawing them takes some 100 bytes a pixel."""

MAX_XML_BYTES = 1 << 20
"""Size of an XML file with the annotation of one picture."""

MAX_YAML_BYTES = 1 << 20
"""Size of a configuration file."""

MAX_YAML_FILES = 100
"""Files that a configuration file stands on through ``_BASE_``, those named twice counted twice."""

MAX_YAML_NODES = 100_000
"""Keys and values of a configuration file, those that aliases repeat counted each time."""

MAX_NESTING = 200
"""Containers inside containers in a pickle."""

_DEFAULT_UNPACKED_GB = 1.0


def max_pixels() -> int:
    """Most pixels of one picture, frame or mask. Raises: ConfigError if DENSE_MAX_MEGAPIXELS is no positive number."""
    return int(1e6 * _setting("DENSE_MAX_MEGAPIXELS", DEFAULT_PIXELS / 1e6))


def max_unpacked_bytes(file_bytes: int) -> int:
    """Most bytes that a compressed checkpoint may unpack to: twice its size, or 1 GB if that is more.

    Raises: ConfigError if DENSE_MAX_UNPACKED_GB is no positive number.
    """
    return max(2 * file_bytes, int(1e9 * _setting("DENSE_MAX_UNPACKED_GB", _DEFAULT_UNPACKED_GB)))


def _setting(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not 0 < value < 1e9:  # also false for NaN
        raise ConfigError(f"environment variable {name}: is {text!r}, expected a positive number.")
    return value
