"""Videos of the world in the layouts of VIPSeg and VSPW: what the readers give back is what was rendered."""

import numpy as np
import pytest

from dense.data.formats import read_vipseg, read_vspw
from dense.data.world import STUFF, THINGS, render_video
from dense.data.world.command import main
from dense.data.world.image_writer import label_map
from dense.data.world.map_writer import make_map_world
from dense.data.world.parameters import VALID_OFFSET, WorldParameters
from dense.errors import DataError

PARAMETERS = WorldParameters(0, 2, 1, 3, 48, 80, 6)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    root = tmp_path_factory.mktemp("worlds")
    for layout in ("vipseg", "vspw"):
        make_map_world(root / layout, layout, PARAMETERS, workers=1)
    return root


@pytest.mark.parametrize(("split", "first", "count"), [("train", 0, 2), ("val", VALID_OFFSET, 1)])
def test_make_map_world__vipseg__reader_gives_back_what_was_rendered(worlds, split, first, count):
    """Catches shifted ids, a thing that changes its id between frames, stuff lost under things, swapped splits."""
    dataset = read_vipseg(worlds / f"vipseg/panoptic_gt_VIPSeg_{split}.json", check_files=True)
    assert [video.length for video in dataset.videos] == [3] * count
    assert dataset.category_names == (*THINGS, *STUFF)
    assert dataset.things == frozenset(range(len(THINGS)))
    for number, video in enumerate(dataset.videos):
        rendered = render_video(0, first + number, 3, (48, 80), 6)
        for t, frame in enumerate(video.frames):
            ids, classes = dataset.ids(video, t), np.full((48, 80), 255)
            for segment in frame.segments:
                classes[ids == segment.id] = segment.category_id
                assert segment.area == (ids == segment.id).sum()
            assert np.array_equal(classes, label_map(rendered, t))
            for k, mask in enumerate(rendered.masks[:, t]):
                assert np.array_equal(ids == k + 1, mask)


def test_make_map_world__vspw__reader_gives_back_what_was_rendered(worlds):
    """Catches labels that are not shifted by one, and unlabelled pixels read as a class."""
    dataset = read_vspw(worlds / "vspw", "train", check_files=True)
    assert dataset.category_names == (*THINGS, *STUFF)
    assert dataset.has_annotations
    for number, video in enumerate(dataset.videos):
        rendered = render_video(0, number, 3, (48, 80), 6)
        for t, frame in enumerate(video.frames):
            assert np.array_equal(dataset.labels(frame, (48, 80)), label_map(rendered, t))
    assert len(read_vspw(worlds / "vspw", "val").videos) == 1


def test_make_map_world__again__kept_and_completed_when_a_file_is_missing(worlds, tmp_path):
    """Catches rendering twice, and a damaged folder taken for a complete one."""
    make_map_world(tmp_path, "vspw", PARAMETERS, workers=1)
    assert make_map_world(tmp_path, "vspw", PARAMETERS, workers=1).kept
    frame = tmp_path / "data/train_000001/mask/00002.png"
    before = frame.read_bytes()
    frame.unlink()
    assert not make_map_world(tmp_path, "vspw", PARAMETERS, workers=1).kept
    assert frame.read_bytes() == before == (worlds / "vspw/data/train_000001/mask/00002.png").read_bytes()
    with pytest.raises(DataError, match="expected one of vipseg, vspw"):
        make_map_world(tmp_path, "ade", PARAMETERS)


def test_command__kind_vipseg__writes_and_says_what(tmp_path, capsys):
    """Catches a layout that the command line cannot write."""
    tiny = ["--train-videos", "1", "--valid-videos", "1", "--frames", "2", "--height", "48", "--width", "80", "--workers", "1"]
    assert main(["--kind", "vipseg", "--output", str(tmp_path / "w"), *tiny]) == 0
    assert "1 + 1 videos of 2 frames" in capsys.readouterr().out
    assert len(read_vipseg(tmp_path / "w/panoptic_gt_VIPSeg_val.json", check_files=True).videos) == 1
