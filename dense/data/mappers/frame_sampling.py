"""Which frames of a video make a training clip (DVIS++: consecutive or scattered around a reference frame)."""

from dataclasses import dataclass

import numpy as np

from dense.errors import ConfigError, DataError

__all__ = ["FrameSampler", "sample_frames"]


@dataclass(frozen=True)
class FrameSampler:
    """:func:`sample_frames` with its settings: ``sampler(length, rng)`` draws the frames of one clip."""

    num_frames: int
    frame_range: int
    reverse: bool = False
    shuffle: bool = False
    always_replace: bool = False

    def __call__(self, length: int, rng: np.random.Generator) -> list[int]:
        """``num_frames`` indices in [0, length)."""
        return sample_frames(
            length,
            self.num_frames,
            self.frame_range,
            rng,
            reverse=self.reverse,
            shuffle=self.shuffle,
            always_replace=self.always_replace,
        )


def sample_frames(
    length: int,
    num_frames: int,
    frame_range: int,
    rng: np.random.Generator,
    *,
    reverse: bool = False,
    shuffle: bool = False,
    always_replace: bool = False,
) -> list[int]:
    """Draw ``num_frames`` frame indices from a video of ``length`` frames.

    * One frame: uniform over the video.
    * ``2 · frame_range + 1 == num_frames``: consecutive frames from a uniform start; with ``reverse`` their order is
      reversed with probability 0.5.
    * Otherwise: a uniform reference frame and ``num_frames - 1`` others at most ``frame_range`` frames away, sorted in
      time, or in random order with ``shuffle``.

    Kept from the reference: consecutive clips never start at ``length - num_frames`` unless that is the only start;
    when the video is too short for consecutive frames, all its frames come first and the repeated ones follow at the
    end, unsorted; others are drawn with replacement when the window (reference included) holds fewer than
    ``num_frames`` frames, and then the reference is not among them, so that it occurs once. Own addition: a window
    that holds only the reference repeats it (the reference implementation fails).

    Args:
        length: frames of the video.
        num_frames: frames of the clip.
        frame_range: half window in frames.
        rng: source of all randomness.
        reverse: reverse consecutive clips half of the time.
        shuffle: give up the order in time of scattered clips (no effect on consecutive ones).
        always_replace: draw the others with replacement even from large windows (panoptic and semantic mappers).

    Returns: ``num_frames`` indices in [0, length).
    Raises: DataError for an empty video; ConfigError for an impossible clip.
    """
    if length < 1:
        raise DataError(f"frame sampling: video of {length} frames, expected at least 1.")
    if num_frames < 1 or frame_range < 0:
        raise ConfigError(
            f"INPUT.SAMPLING_FRAME_NUM: {num_frames} frames in a range of {frame_range}, expected at least 1 and at least 0."
        )
    if num_frames == 1:
        return [int(rng.integers(length))]
    if 2 * frame_range + 1 == num_frames:
        frames = _consecutive(length, num_frames, rng)
        return frames[::-1] if reverse and rng.uniform() < 0.5 else frames
    frames = _scattered(length, num_frames, frame_range, rng, always_replace)
    return [int(t) for t in rng.permutation(frames)] if shuffle else sorted(frames)


def _consecutive(length: int, num_frames: int, rng: np.random.Generator) -> list[int]:
    if length < num_frames:
        return [*range(length), *(int(t) for t in rng.integers(length, size=num_frames - length))]
    start = int(rng.integers(length - num_frames)) if length > num_frames else 0
    return list(range(start, start + num_frames))


def _scattered(length: int, num_frames: int, frame_range: int, rng: np.random.Generator, always_replace: bool) -> list[int]:
    reference = int(rng.integers(length))
    window = range(max(reference - frame_range, 0), min(reference + frame_range + 1, length))
    others = [t for t in window if t != reference] or [reference]
    replace = always_replace or len(window) < num_frames
    return [reference, *(int(t) for t in rng.choice(others, size=num_frames - 1, replace=replace))]
