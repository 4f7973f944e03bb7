"""Label maps of videos: what is found, how values become classes, what is written."""

import numpy as np
import pytest

from dense.data.formats.label_videos import class_labels, label_videos, write_label_frame
from dense.data.formats.png_ids import read_label_map, write_label_map
from dense.errors import DataError


@pytest.fixture
def root(tmp_path):
    """Two videos: one with the data set's sub-folder ``mask``, one without."""
    for name in ("v10/mask/2.png", "v10/mask/10.png", "v9/1.png", "v10/origin/1.png"):
        write_label_map(tmp_path / "data" / name, np.zeros((1, 1), int))
    (tmp_path / "data" / "v9" / "._1.png").write_bytes(b"x")
    return tmp_path / "data"


def test_label_videos__both_layouts__natural_order(root):
    """Catches pictures taken for label maps, frame 10 before frame 2, and hidden files."""
    found = label_videos(root)
    assert [video.name for video in found] == ["v9", "v10"]
    assert [[path.name for path in video.frames] for video in found] == [["1.png"], ["2.png", "10.png"]]


@pytest.mark.parametrize(("text", "word"), [("v9\nv8\n", "v8"), ("v9\nv9\n", "line 2"), ("../v9", "../v9"), ("\n", "no video")])
def test_label_videos__wrong_split_file__error(root, tmp_path, text, word):
    """Catches videos that count twice or not at all."""
    (tmp_path / "val.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        label_videos(root, tmp_path / "val.txt")
    assert word in str(caught.value)


@pytest.mark.parametrize("folder", ["nowhere", "empty", "videos"])
def test_label_videos__nothing_there__error_names_the_folder(tmp_path, folder):
    """Catches an empty folder that scores as perfect or crashes."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "videos" / "v").mkdir(parents=True)
    with pytest.raises(DataError, match=folder):
        label_videos(tmp_path / folder)


def test_label_videos__split_file_missing__error(root, tmp_path):
    """Catches a foreign traceback."""
    with pytest.raises(DataError, match=r"val\.txt"):
        label_videos(root, tmp_path / "val.txt")


def test_class_labels__many_classes__254_is_a_class():
    """Catches values that are classes of a large set and count as unlabelled."""
    values = np.array([[0, 1, 254, 300]], np.int32)
    assert class_labels(values, 400, "x.png", ignore_label=-1).tolist() == [[-1, 0, 253, 299]]


def test_class_labels__unknown_value__error():
    """Catches another list of classes."""
    with pytest.raises(DataError, match=r"x\.png.*value 125"):
        class_labels(np.array([[125]]), 124, "x.png")


def test_write_label_frame__frame__submission_path_and_values(tmp_path):
    """Catches values shifted as in the ground truth, and a JPEG name that stays."""
    labels = np.array([[0, 123, 255]])
    path = write_label_frame(tmp_path, "v", "00001.jpg", labels, 124)
    assert path == tmp_path / "v" / "00001.png"
    assert (read_label_map(path) == labels).all()
    with pytest.raises(DataError, match="label 124"):
        write_label_frame(tmp_path, "v", "00002.jpg", np.array([[124]]), 124)
