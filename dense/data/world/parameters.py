"""What the bytes of a world depend on, and the checks of these numbers."""

from dataclasses import asdict, dataclass
from typing import Any

from dense.errors import DataError

__all__ = ["JPEG_QUALITY", "VALID_OFFSET", "WorldParameters", "check_integer", "check_share", "check_video"]

JPEG_QUALITY = 92
VALID_OFFSET = 1_000_000  # validation videos have their own indices, whatever the number of training videos

_VERSION = 3  # raise it whenever the same parameters give other pixels, masks or categories


@dataclass(frozen=True)
class WorldParameters:
    """Parameters of a data set, as they stand in ``info`` of its files; equal parameters give equal bytes."""

    seed: int
    train_videos: int
    valid_videos: int
    frames: int
    height: int
    width: int
    frame_step: int
    version: int = _VERSION
    generator: str = "dense.data.world"
    jpeg_quality: int = JPEG_QUALITY
    crowded: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """For ``info``; a world without crowds says nothing of them, as before there were any."""
        return {name: value for name, value in asdict(self).items() if name != "crowded" or value}

    def check(self) -> None:
        """Raise DataError for a number out of range."""
        check_integer("seed", self.seed, 0)
        check_integer("train_videos", self.train_videos, 0, VALID_OFFSET)
        check_integer("valid_videos", self.valid_videos, 0, VALID_OFFSET)
        check_video(self.frames, (self.height, self.width), self.frame_step)
        check_share("crowded", self.crowded)
        if not self.train_videos + self.valid_videos:
            raise DataError("world: no videos asked for. Give train_videos or valid_videos.")


def check_integer(name: str, value: object, lowest: int, highest: int | None = None) -> None:
    """Raise DataError unless ``value`` is an integer in [lowest, highest]."""
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= lowest and (highest is None or value <= highest)
    if not fits:
        limit = f"of at least {lowest}" if highest is None else f"in [{lowest}, {highest}]"
        raise DataError(f"world: {name} is {value!r}, expected an integer {limit}.")


def check_share(name: str, value: float) -> None:
    """Raise DataError unless ``value`` is in [0, 1]."""
    if not 0 <= value <= 1:
        raise DataError(f"world: {name} is {value!r}, expected a share from 0 to 1.")


def check_video(frames: int, size: tuple[int, int], frame_step: int) -> None:
    """Raise DataError for a number of frames, a (height, width) in pixels or a step that cannot be rendered."""
    check_integer("frames", frames, 1)
    check_integer("frame_step", frame_step, 1)
    height, width = size
    check_integer("height", height, 32, 4096)
    check_integer("width", width, 32, 4096)
    if not 0.5 <= width / height <= 4:
        raise DataError(f"world: picture {height}x{width} (height x width), expected width / height in [0.5, 4].")
