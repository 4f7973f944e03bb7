"""Golden inputs of the video evaluators as files on disk."""

from pathlib import Path

import numpy as np
import pytest

from dense.data.formats.png_ids import write_id_map, write_label_map


@pytest.fixture
def vipseg_files(golden, tmp_path) -> tuple[Path, Path, Path, Path]:
    """Arguments of ``evaluate_video_panoptic``: the golden id maps as PNG files, and the JSON files."""
    with np.load(golden("evaluation/video_panoptic.npz")) as arrays:
        for name in [name for name in arrays.files if name.startswith("vps.video")]:
            _, video, side = name.split(".")
            for t, ids in enumerate(arrays[name]):
                write_id_map(tmp_path / side / video / f"{t:05d}.png", ids)
    jsons = [golden(f"evaluation/vps_{side}.json") for side in ("gt", "pred")]
    return jsons[0], tmp_path / "gt", jsons[1], tmp_path / "pred"


@pytest.fixture
def vspw_files(golden, tmp_path) -> tuple[Path, Path]:
    """Folders of annotated and predicted label maps of the golden videos, the former as VSPW has them."""
    with np.load(golden("evaluation/video_semantic.npz")) as arrays:
        for name in [name for name in arrays.files if name.startswith("vss.s")]:
            _, video, side = name.split(".")
            for t, labels in enumerate(arrays[name]):
                folder = tmp_path / side / video / ("mask" if side == "gt" else "")
                write_label_map(folder / f"{t:05d}.png", labels)
    return tmp_path / "gt", tmp_path / "pred"
