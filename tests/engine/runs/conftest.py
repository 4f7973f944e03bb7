"""A world of a few tiny videos, and the training command line run inside the test process."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TINY = Path(__file__).resolve().parents[2] / "data" / "configs" / "tiny.yaml"


@dataclass(frozen=True)
class Outcome:
    """What a command line did: exit status, and the lines of its two streams."""

    status: int
    out: list[str]
    err: list[str]


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """A root of data sets (DETECTRON2_DATASETS) with a world of 4 + 2 videos of 4 frames, 64 x 96 pixels."""
    from dense.data.world.writer import make_video_world

    root = tmp_path_factory.mktemp("datasets")
    make_video_world(root / "world", train_videos=4, valid_videos=2, frames=4, size=(64, 96), workers=1, frame_step=6)
    return root


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """Give the root logger back as it was: the command line takes it over."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def train(tiny_data, quiet_logging, monkeypatch, capsys) -> Callable[..., Outcome]:
    """Function that runs the training command line with the small model in this process."""
    from dense.engine.command import main

    monkeypatch.setenv("DETECTRON2_DATASETS", str(tiny_data))

    def call(*words: Any, config: Path = TINY) -> Outcome:
        capsys.readouterr()
        try:
            status = main(["--config-file", str(config), *map(str, words)])
        except SystemExit as stop:
            status = stop.code
        printed = capsys.readouterr()
        return Outcome(status, printed.out.splitlines(), printed.err.splitlines())

    return call
