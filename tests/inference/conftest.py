"""A video segmenter that is small enough to be built in every test, made-up clips, and the demo's command line."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[1] / "data"


@dataclass(frozen=True)
class Outcome:
    """What a command line did: exit status, and the lines of its two streams."""

    status: int
    out: list[str]
    err: list[str]


@pytest.fixture(scope="session")
def tiny() -> Path:
    """Configuration of a small video segmenter with random weights."""
    return DATA / "configs" / "tiny.yaml"


@pytest.fixture(scope="session")
def predictor(tiny) -> Callable[..., Any]:
    """Function from VideoPredictor's keyword arguments (and ``window``) to a predictor; all share one model's weights."""
    import torch

    from dense.inference.video_predictor import VideoPredictor

    torch.manual_seed(0)  # whatever ran before: some random weights put mask logits on zero, where any rounding shows
    source = VideoPredictor(tiny)

    def make(window: int = 3, **settings: Any) -> Any:
        settings = {"min_size": 64, "max_size": 128, "min_score": 0.0, "categories": source.categories, **settings}
        source.model.window, source.model.whole_video = window, False
        return VideoPredictor(source.model, **settings)

    return make


@pytest.fixture(scope="session")
def clip() -> Callable[..., np.ndarray]:
    """Function from a number of frames to ``(T, H, W, 3)`` uint8: two blocks moving over a gradient, with a little noise."""

    def make(frames: int, height: int = 64, width: int = 96) -> np.ndarray:
        draw = np.random.default_rng(7)
        y, x = np.mgrid[:height, :width]
        ground = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.int64)
        out = np.empty((frames, height, width, 3), np.uint8)
        for t in range(frames):
            picture = ground.copy()
            left = (3 * t) % (width - 20)
            picture[10:30, left : left + 20] = (250, 30, 40)
            picture[34:56, width - 22 - left // 2 : width - left // 2] = (20, 60, 240)
            out[t] = np.clip(picture + draw.integers(-4, 5, picture.shape), 0, 255)
        return out

    return make


@pytest.fixture(scope="session")
def cases() -> Callable[[str], tuple[Path, dict[str, Any], dict[str, Any]]]:
    """Function from a case's name (tests/data/cases) to its folder, its inputs and what must come out."""
    table = json.loads((DATA / "cases" / "video_expected.json").read_text())

    def find(name: str) -> tuple[Path, dict[str, Any], dict[str, Any]]:
        return DATA / "cases" / name, table[name]["inputs"], table[name]["expect"]

    return find


@pytest.fixture
def demo(tiny, capsys) -> Callable[..., Outcome]:
    """Function that runs the demo with the small model; anything but a clean end or SystemExit fails the test."""
    from dense.inference.demo_video import main

    def call(*words: object, model: bool = True) -> Outcome:
        options = ["--config-file", tiny, "--min-score", "0.05"] if model else []
        capsys.readouterr()
        try:
            status = main([str(word) for word in (*options, *words)])
        except SystemExit as stop:
            status = stop.code
        printed = capsys.readouterr()
        return Outcome(status, printed.out.splitlines(), printed.err.splitlines())

    return call


@pytest.fixture(scope="session")
def decoded() -> Callable[[Path], tuple[tuple[int, int], list[float]]]:
    """Function that decodes a video with PyAV alone: (height, width) and the time of every frame, from 0."""
    import av

    def read(path: Path) -> tuple[tuple[int, int], list[float]]:
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
            assert container.streams.video[0].codec_context.name != ""
        sizes = {(frame.height, frame.width) for frame in frames}
        assert len(sizes) == 1
        return sizes.pop(), [float(frame.time - frames[0].time) for frame in frames]

    return read


@pytest.fixture(scope="session")
def json_lines() -> Callable[[Path], list[Any]]:
    """Function that reads a JSON Lines file; every line must be whole."""

    def read(path: Path) -> list[Any]:
        text = path.read_text(encoding="utf-8")
        assert text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]

    return read
