"""A training step of the tracker (forward, losses, backward) on a cached clip, beside the same with the segmenter run anew."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.case import Case
from dense.config import load_config
from dense.data.clip_cache.records import from_tensors, to_tensors
from dense.data.mappers.frame_targets import FrameTargets
from dense.modeling import build_model
from dense.projects.dvis.segmenting import segmented_record

__all__ = ["cases"]

_CONFIGS = Path(__file__).resolve().parents[2] / "configs"
_OBJECTS = 4


def cases() -> list[Case]:
    """The world's tracker and the one with ResNet-50 on YouTube-VIS 2019, a clip each, float16 cache."""
    return [
        _case("world, 9 frames of 128x213", "world/online_lite0.yaml", 9, (128, 213), 10.0),
        _case("R50, 5 frames of 480x854", "dvis/ytvis19/online_r50.yaml", 5, (480, 854), 10.0),
    ]


def _case(name: str, config: str, frames: int, size: tuple[int, int], faster: float) -> Case:
    cfg = load_config(str(_CONFIGS / config), ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "INPUT.SAMPLING_FRAME_NUM", frames])
    torch.manual_seed(0)
    model = build_model(cfg)
    clip = _clip(frames, size)
    kept = to_tensors(segmented_record(model.eval(), clip), torch.float16)
    model.train()

    def step(record: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, float]]:
        def run() -> dict[str, float]:
            torch.manual_seed(1)  # the same noise and points
            model.zero_grad()
            losses = model([record()])
            sum(losses.values()).backward()
            return {name: float(loss.detach()) for name, loss in losses.items()}

        return run

    cached, live = step(lambda: from_tensors(kept)), step(lambda: clip)
    size = sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
    return Case(f"tracker step, {name}", cached, {"segmenter run anew": live}, _agree, size, 0, faster=faster)


def _clip(frames: int, size: tuple[int, int]) -> dict[str, Any]:
    """Noise, with moving squares as objects."""
    generator = torch.Generator().manual_seed(2)
    targets = []
    for t in range(frames):
        masks = torch.zeros(_OBJECTS, *size, dtype=torch.bool)
        for n in range(_OBJECTS):
            masks[n, 10 * n + t : 10 * n + t + size[0] // 3, 25 * n + 2 * t : 25 * n + 2 * t + size[1] // 4] = True
        targets.append(FrameTargets(torch.arange(_OBJECTS), torch.arange(_OBJECTS), masks))
    images = [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for _ in range(frames)]
    return {"image": images, "instances": targets, "file_names": ["noise"] * frames}


def _agree(ours: object, theirs: object) -> None:
    assert isinstance(ours, dict)
    assert isinstance(theirs, dict)
    assert ours.keys() == theirs.keys(), "other losses"
    for name, loss in ours.items():
        assert math.isclose(loss, theirs[name], rel_tol=2e-2, abs_tol=2e-2), f"{name}: {loss} and {theirs[name]}"
