"""The command: what it finds by itself, what it prints and writes, exit codes, the contact sheet."""

import json

import numpy as np
import pytest
from PIL import Image

from dense.data.checking import find_targets
from dense.data.checking.command import main
from dense.data.checking.sheet import choose_frames, contact_sheet
from dense.errors import ConfigError, DataError


def test_find_targets__folders__every_annotation_file_with_its_format(world):
    """Catches a format taken for another, and a split that is passed over."""
    found = {
        name: [(t.format, t.source.rpartition("/")[2]) for t in find_targets(str(world / name))]
        for name in ("videos", "images", "vipseg", "vspw")
    }
    assert found == {
        "videos": [("youtube-vis", "train.json"), ("youtube-vis", "valid.json")],
        "images": [
            ("coco", "instances_train.json"),
            ("coco", "instances_valid.json"),
            ("coco-panoptic", "panoptic_train.json"),
            ("coco-panoptic", "panoptic_valid.json"),  # empty: by its name
        ],
        "vipseg": [("vipseg", "panoptic_gt_VIPSeg_train.json"), ("vipseg", "panoptic_gt_VIPSeg_val.json")],
        "vspw": [("vspw", "train.txt"), ("vspw", "val.txt")],
    }


def test_find_targets__own_forms_and_registered_names(world, tmp_path, monkeypatch):
    """Catches names that configurations accept and the checker does not."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(world))
    (video,) = find_targets("world_train")
    assert (video.format, video.pictures) == ("youtube-vis", world / "world/train/JPEGImages")
    images = world / "images"
    names = tmp_path / "names.json"
    names.write_text(json.dumps([f"class {k}" for k in range(19)]))
    (maps,) = find_targets(f"{images}/images/train:{images}/semantic/train:{names}")
    assert (maps.format, maps.maps) == ("semantic", images / "semantic/train")
    (own,) = find_targets(f"{images}/annotations/instances_train.json:{images}/elsewhere")
    assert (own.format, own.pictures) == ("coco", images / "elsewhere")
    with pytest.raises(ConfigError, match="world_train"):
        find_targets("world_trian")
    with pytest.raises(DataError, match="no such file or folder"):
        find_targets(str(world / "nothing.json"))
    with pytest.raises(DataError, match="holds no data set"):
        find_targets(str(world / "images/semantic"))


def test_check_data__sound_then_damaged__exit_codes_and_report(world, edited, capsys):
    """Catches an exit code 0 for a faulty data set, a terminal that is flooded, a report that leaves faults out."""
    source = world / "videos/train.json"
    assert main([str(source)]) == 0
    assert "0 errors" in capsys.readouterr().out
    assert main([str(source), "--strict"]) == 1  # categories without objects

    def change(data):
        for record in data["annotations"]:
            record["segmentations"] = ["junk"] * 3

    edited(source, change)
    report = world / "report.json"
    assert main([str(source), "--most", "2", "--json", str(report)]) == 1
    printed = capsys.readouterr().out
    content = json.loads(report.read_text())["data_sets"][0]
    count = content["errors"]
    assert count > 9
    assert f"error: mask: {count}" in printed
    assert printed.count("segmentations[") == 2
    assert f"{count - 2} more" in printed
    assert [fault["kind"] for fault in content["faults"]].count("mask") == count
    first = content["faults"][0]
    assert (first["position"], first["record"], first["file"]) == ("annotations[0].segmentations[0]", "1", str(source))
    assert content["counts"]["frames"] == 6


def test_check_data__semantic_folders__figures_of_each_class(world, capsys):
    """Catches label maps that are counted by value instead of class."""
    names = world / "names.json"
    names.write_text(json.dumps([f"class {k}" for k in range(19)]))
    images = world / "images"
    assert main([f"{images}/images/train:{images}/semantic/train:{names}"]) == 0
    assert "3 images" in capsys.readouterr().out
    names.write_text(json.dumps([f"class {k}" for k in range(3)]))
    assert main([f"{images}/images/train:{images}/semantic/train:{names}"]) == 1
    assert "expected 0 to 2" in capsys.readouterr().out


def test_check_data__wrong_input_and_usage__one_line(world, capsys):
    """Catches tracebacks."""
    assert main([str(world / "nothing.json")]) == 1
    assert main([str(world / "videos/train.json"), "--workers", "0"]) == 1
    assert capsys.readouterr().err.count("\n") == 2
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2


def test_contact_sheet__faulty_frames__come_first_and_are_framed_in_red(world, check, edited):
    """Catches a sheet of sound frames only, and a frame of another moment than its name says."""

    def change(data):
        data["annotations"][-1]["segmentations"][2] = "junk"

    edited(world / "videos/train.json", change)
    report = check(world / "videos/train.json")
    chosen = choose_frames(report, 4)
    assert (chosen[0][0].key, chosen[0][1]) == (("2", 2), ["mask"])
    assert len({frame.key for frame, _ in chosen}) == 4
    assert all(not kinds for _, kinds in chosen[1:])
    sheet = contact_sheet([report], 4)
    red = (np.abs(sheet.astype(int) - (190, 30, 30)).max(-1) == 0).sum(1) > 300
    assert red.any()
    columns = (np.abs(sheet.astype(int) - (190, 30, 30)).max(-1) == 0).any(0)
    assert columns[:406].any()
    assert not columns[406:].any()


@pytest.mark.parametrize("name", ["videos/train.json", "images", "vipseg/panoptic_gt_VIPSeg_train.json", "vspw/train.txt"])
def test_check_data__contact_sheet__written_for_every_format(world, name, capsys):
    """Catches a format that cannot be drawn."""
    path = world / "sheet.png"
    assert main([str(world / name), "--contact-sheet", str(path), "--samples", "4"]) == 0
    with Image.open(path) as sheet:
        assert sheet.width == 4 * 406
