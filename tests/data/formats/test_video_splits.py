"""Dividing a video annotation file by video, and the command that does it."""

import json

import pytest

from dense.data.formats.video_splits import merge_categories, split_videos, video_names
from dense.data.formats.youtube_vis import parse_youtube_vis
from dense.data.split_command import main
from dense.errors import DataError


def _file(names=("cat", "dog", "bird"), annotated=True):
    """One video of two frames and one object for each name; ids 0, 10, 20; categories 3 and 7."""
    mask = {"size": [4, 6], "counts": [2, 3, 19]}
    videos = [
        {"id": 10 * n, "height": 4, "width": 6, "file_names": [f"{name}/0.jpg", f"{name}/1.jpg"]}
        for n, name in enumerate(names)
    ]
    tracks = [
        {"id": n, "video_id": 10 * n, "category_id": (3, 7)[n % 2], "segmentations": [mask, None]} for n in range(len(names))
    ]
    return {
        "info": {"year": 2026},
        "videos": videos,
        "annotations": tracks if annotated else None,
        "categories": [{"id": 3, "name": "a"}, {"id": 7, "name": "b"}],
    }


def test_split__by_name_and_id__each_video_and_object_in_one_part():
    """Catches an object that stays with the wrong part, a video in both, and a changed input."""
    data = _file()
    before = json.dumps(data)
    train, valid = split_videos(data, ["dog", "20"])
    assert [v["id"] for v in train["videos"]] == [0]
    assert [v["id"] for v in valid["videos"]] == [10, 20]
    assert [a["id"] for a in train["annotations"]] == [0]
    assert [a["id"] for a in valid["annotations"]] == [1, 2]
    assert train["categories"] == valid["categories"] == data["categories"]
    assert train["info"] == {"year": 2026}
    assert json.dumps(data) == before
    parse_youtube_vis(train)
    parse_youtube_vis(valid)


def test_split__unknown_name__error_suggests_the_nearest():
    """Catches a misspelt name that holds nothing out and says nothing."""
    with pytest.raises(DataError, match=r"my\.json: has no video 'dgo'\. Did you mean 'dog'\?"):
        split_videos(_file(), ["dgo"], "my.json")


def test_split__everything_held_out__error():
    """Catches an empty training set that is found only when training starts."""
    with pytest.raises(DataError, match="all 3 videos are held out"):
        split_videos(_file(), ["cat", "dog", "bird"])


def test_split__without_annotations__parts_have_none():
    """Catches a validation file of a challenge that turns into one with no objects."""
    train, valid = split_videos(_file(annotated=False), ["dog"])
    assert train["annotations"] is None
    assert valid["annotations"] is None


def test_video_names__frames_without_folder__id():
    """Catches all videos getting the name '.'."""
    data = _file()
    data["videos"][1]["file_names"] = ["0.jpg", "1.jpg"]
    assert video_names(data) == {0: "cat", 10: "10", 20: "bird"}


def test_merge__two_categories__one_with_all_objects():
    """Catches an annotation that keeps its old category."""
    merged = parse_youtube_vis(merge_categories(_file(), "object"))
    assert merged.category_names == ("object",)
    assert sum(len(video.tracks) for video in merged.videos) == 3


def test_command__share__same_draw_for_the_same_seed(tmp_path, capsys):
    """Catches splits that change from call to call."""
    source = tmp_path / "all.json"
    source.write_text(json.dumps(_file([f"v{n}" for n in range(10)])), encoding="utf-8")
    chosen = []
    for folder in ("one", "two"):
        assert main(["--annotations", str(source), "--share", "0.3", "--seed", "5", "--output", str(tmp_path / folder)]) == 0
        valid = json.loads((tmp_path / folder / "valid.json").read_text(encoding="utf-8"))
        train = json.loads((tmp_path / folder / "train.json").read_text(encoding="utf-8"))
        assert len(train["videos"]) == 7
        chosen.append([video["id"] for video in valid["videos"]])
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 3
    assert "valid.json: 3 videos, 3 objects" in capsys.readouterr().out


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "nan"])
def test_command__impossible_share__one_line(share, tmp_path, capsys):
    """Catches a share that holds out nothing or everything without a word."""
    source = tmp_path / "all.json"
    source.write_text(json.dumps(_file()), encoding="utf-8")
    assert main(["--annotations", str(source), f"--share={share}", "--output", str(tmp_path / "o")]) == 1
    assert "expected a number between 0 and 1" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_command__broken_file__one_line(tmp_path, capsys):
    """Catches a traceback for annotations that are not sound."""
    source = tmp_path / "all.json"
    source.write_text('{"videos": [{"id": 1}], "categories": []}', encoding="utf-8")
    assert main(["--annotations", str(source), "--output", str(tmp_path / "o")]) == 1
    assert "all.json: videos[0]" in capsys.readouterr().err
