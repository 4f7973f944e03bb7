"""The world on disk: determinism, format, exact numbers, and what happens to existing folders."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from dense.data.formats.youtube_vis import read_youtube_vis
from dense.data.world import THINGS, make_video_world, render_video, writer
from dense.data.world.parameters import VALID_OFFSET
from dense.errors import DataError

WORLD = {"seed": 5, "train_videos": 3, "valid_videos": 2, "frames": 4, "size": (48, 80), "frame_step": 6, "workers": 1}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world") / "data"
    return make_video_world(root, **WORLD)


def _files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(Path(root).rglob("*")) if p.is_file()}


def test_make_video_world__two_processes__same_bytes_as_one(world, tmp_path):
    """Catches ids, order or pixels that depend on which process finishes first."""
    make_video_world(tmp_path / "two", **{**WORLD, "workers": 2})
    assert _files(tmp_path / "two") == _files(world.output)


def test_make_video_world__more_training_videos__validation_unchanged(world, tmp_path):
    """Catches a validation split that shifts with the size of the training split, or overlaps it."""
    make_video_world(tmp_path, **{**WORLD, "train_videos": 1})
    mine, theirs = _files(tmp_path / "valid"), _files(world.output / "valid")
    assert mine == theirs
    assert not set(mine.values()) & set(_files(world.output / "train").values())


@pytest.mark.parametrize("split", ["train", "valid"])
def test_make_video_world__own_reader__accepts_it(world, split):
    """Catches a file that the toolbox's own validating reader refuses, or whose pictures it does not find."""
    data = read_youtube_vis(world.output / f"{split}.json", world.output / split / "JPEGImages", check_files=True)
    assert len(data.videos) == WORLD[f"{split}_videos"]


@pytest.mark.parametrize("split", ["train", "valid"])
def test_make_video_world__json__is_youtube_vis(world, split):
    """Catches missing fields, ids from 0, lists of a wrong length, and dangling references."""
    content = json.loads((world.output / f"{split}.json").read_text())
    assert [c["id"] for c in content["categories"]] == list(range(1, len(THINGS) + 1))
    assert [c["name"] for c in content["categories"]] == list(THINGS)
    assert content["info"]["seed"] == 5
    assert not any("date" in key for key in content["info"])
    assert [v["id"] for v in content["videos"]] == list(range(1, WORLD[f"{split}_videos"] + 1))
    for video in content["videos"]:
        assert (video["height"], video["width"], video["length"]) == (48, 80, 4)
        pictures = [cv2.imread(str(world.output / split / "JPEGImages" / name)) for name in video["file_names"]]
        assert [p.shape for p in pictures] == [(48, 80, 3)] * 4
    assert [a["id"] for a in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
    for annotation in content["annotations"]:
        assert annotation["video_id"] in {v["id"] for v in content["videos"]}
        assert 1 <= annotation["category_id"] <= len(THINGS)
        assert (annotation["iscrowd"], annotation["height"], annotation["width"], annotation["length"]) == (0, 48, 80, 4)
        lists = [annotation[key] for key in ("segmentations", "bboxes", "areas")]
        assert [len(values) for values in lists] == [4, 4, 4]
        assert any(values is not None for values in annotation["areas"])


def test_make_video_world__numbers__are_those_of_the_rendered_masks(world):
    """Catches RLE, box or area that disagree with the mask, and an absent frame that is not null in all three lists."""
    content = json.loads((world.output / "valid.json").read_text())
    absent = 0
    for number in (1, 2):
        video = render_video(5, VALID_OFFSET + number - 1, 4, (48, 80), 6)
        shown = [i for i in range(len(video.masks)) if video.masks[i].any()]
        records = [a for a in content["annotations"] if a["video_id"] == number]
        assert [THINGS[a["category_id"] - 1] for a in records] == [video.categories[i] for i in shown]
        for record, i in zip(records, shown, strict=True):
            for t, mask in enumerate(video.masks[i]):
                values = [record[key][t] for key in ("segmentations", "bboxes", "areas")]
                if not mask.any():
                    assert values == [None, None, None]
                    absent += 1
                    continue
                rows, columns = np.nonzero(mask)
                assert np.array_equal(coco_mask.decode(values[0]), mask)
                x, y = columns.min(), rows.min()
                assert values[1] == [x, y, columns.max() - x + 1, rows.max() - y + 1]
                assert values[2] == len(rows) >= 12
    assert absent  # else the null branch was not tried: choose another seed


def test_make_video_world__jpeg__shows_the_rendered_frame(world):
    """Catches swapped colour channels and a wrong order of frames."""
    picture = cv2.imread(str(world.output / "train/JPEGImages/v000001/00002.jpg"))[..., ::-1]
    frames = render_video(5, 1, 4, (48, 80), 6).frames
    error = [np.abs(picture.astype(int) - frame).mean() for frame in frames]
    assert error[2] < 6
    assert np.argmin(error) == 2


def test_make_video_world__same_parameters_again__kept_without_rendering(world, monkeypatch):
    """Catches a second run that renders all again."""
    monkeypatch.setattr(writer, "_render_job", lambda job: pytest.fail("rendered again"))
    again = make_video_world(world.output, **WORLD)
    assert again.kept
    assert again.instances == world.instances > 0


def test_make_video_world__other_parameters__refused_unless_overwritten(tmp_path):
    """Catches data that is lost, or mixed with stale pictures of a larger world."""
    small = {"train_videos": 2, "valid_videos": 1, "frames": 1, "size": (32, 48), "workers": 1}
    make_video_world(tmp_path, **small)
    before = _files(tmp_path)
    with pytest.raises(DataError, match="other parameters"):
        make_video_world(tmp_path, **{**small, "train_videos": 1})
    assert _files(tmp_path) == before
    make_video_world(tmp_path, **{**small, "train_videos": 1}, overwrite=True)
    assert [p.name for p in (tmp_path / "train/JPEGImages").iterdir()] == ["v000000"]


@pytest.mark.parametrize("foreign", ["train.json", "valid/JPEGImages/a/00000.jpg"])
def test_make_video_world__foreign_data__never_touched(tmp_path, foreign):
    """Catches a real data set removed by `overwrite`."""
    (tmp_path / foreign).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / foreign).write_text("{}")
    with pytest.raises(DataError, match="not made by the world"):
        make_video_world(tmp_path, **WORLD, overwrite=True)
    assert list(_files(tmp_path)) == [foreign]


def test_make_video_world__interrupted__no_json_and_the_next_run_completes(world, tmp_path):
    """Catches half-written JSON after an interruption, and a folder that can then never be used."""

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_video_world(tmp_path, **WORLD, progress=stop)
    assert {p.name for p in tmp_path.iterdir()} == {".dense_world.json", "train"}
    seen = []
    report = make_video_world(tmp_path, **WORLD, progress=lambda done, total: seen.append((done, total)))
    assert not report.kept
    assert seen == [(k, 5) for k in range(1, 6)]
    assert _files(tmp_path) == _files(world.output)


def test_make_video_world__lost_picture__is_rendered_again(tmp_path):
    """Catches a damaged folder that is taken for complete."""
    small = {"train_videos": 1, "valid_videos": 1, "frames": 2, "size": (32, 48), "workers": 1}
    make_video_world(tmp_path, **small)
    before = _files(tmp_path)
    (tmp_path / "valid/JPEGImages/v000000/00001.jpg").unlink()
    assert not make_video_world(tmp_path, **small).kept
    assert _files(tmp_path) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"frames": 0},
        {"train_videos": 0, "valid_videos": 0},
        {"size": (16, 16)},
        {"workers": 0},
        {"train_videos": 2.0},
    ],
)
def test_make_video_world__number_out_of_range__data_error_and_no_folder(tmp_path, wrong):
    """Catches wrong numbers that reach NumPy or leave an empty data set."""
    with pytest.raises(DataError, match="world: "):
        make_video_world(tmp_path / "new", **{**WORLD, **wrong})
    assert not (tmp_path / "new").exists()


def test_make_video_world__output_is_a_file__data_error(tmp_path):
    """Catches a foreign traceback for a path that cannot be a folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        make_video_world(tmp_path / "file", **WORLD)
