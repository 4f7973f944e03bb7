"""Every kind of fault, put into a sound data set, is found at its place, and nothing else is."""

import shutil

import numpy as np
import pytest
from PIL import Image

from dense.data.formats.png_ids import read_id_map, read_label_map, write_id_map, write_label_map
from dense.structures import rle

VIDEOS, INSTANCES = "videos/train.json", "images/annotations/instances_train.json"
PANOPTIC, VIPSEG, VSPW = "images/annotations/panoptic_train.json", "vipseg/panoptic_gt_VIPSeg_train.json", "vspw/train.txt"


@pytest.mark.parametrize("name", [VIDEOS, INSTANCES, PANOPTIC, VIPSEG, VSPW])
def test_check_target__sound_world__no_fault_and_right_counts(world, check, faults_of, name):
    """Catches false alarms, and pictures or PNG folders looked for in the wrong place."""
    report = check(world / name)
    assert faults_of(report) == []
    assert report.errors == 0
    assert sum(report.sizes.values()) == (3 if "images" in name else 2)
    assert report.sizes.keys() == {"80x48"}
    assert report.lengths == ([] if "images" in name else [3, 3])
    assert len(report.frames) == (3 if "images" in name else 6)
    assert sum(row.pixels for row in report.categories.values()) > 1000


def put(field, value):
    def change(record):
        record[field] = value

    return change


def drop(field):
    return lambda record: record.pop(field)


# Name of the case: file, path of the record to change, change, expected (severity, kind, position).
RECORDS = {
    "coco annotation id": (INSTANCES, ("annotations", 2), drop("id"), ("error", "record id", "annotations[2].id")),
    "coco duplicate": (INSTANCES, ("annotations", 1), put("id", 1), ("error", "duplicate id", "annotations[1]")),
    "coco image id": (INSTANCES, ("annotations", 1), put("image_id", 77), ("error", "image id", "annotations[1].image_id")),
    "coco category": (
        INSTANCES,
        ("annotations", 1),
        put("category_id", 99),
        ("error", "category", "annotations[1].category_id"),
    ),
    "coco crowd": (INSTANCES, ("annotations", 1), put("iscrowd", 5), ("error", "iscrowd", "annotations[1].iscrowd")),
    "coco mask": (
        INSTANCES,
        ("annotations", 1, "segmentation"),
        put("size", [9, 9]),
        ("error", "mask", "annotations[1].segmentation"),
    ),
    "coco box": (INSTANCES, ("annotations", 1), put("bbox", [1, 2, 3]), ("error", "box", "annotations[1].bbox")),
    "coco area": (INSTANCES, ("annotations", 1), put("area", "big"), ("error", "area", "annotations[1].area")),
    "coco wrong area": (
        INSTANCES,
        ("annotations", 1),
        put("area", 3000),
        ("warning", "area does not fit mask", "annotations[1].area"),
    ),
    "coco degenerate": (
        INSTANCES,
        ("annotations", 1),
        put("bbox", [1, 2, 0, 4]),
        ("warning", "object left out", "annotations[1]"),
    ),
    "coco no mask": (
        INSTANCES,
        ("annotations", 1),
        put("segmentation", None),
        ("warning", "object without mask", "annotations[1].segmentation"),
    ),
    "coco category name": (INSTANCES, ("categories", 3), drop("name"), ("error", "category table", "categories[3].name")),
    "coco category twice": (
        INSTANCES,
        ("categories", 3),
        put("name", "disc"),
        ("warning", "category name twice", "categories"),
    ),
    "coco image name": (INSTANCES, ("images", 0), drop("file_name"), ("error", "image record", "images[0].file_name")),
    "coco size": (INSTANCES, ("images", 1), put("height", 0), ("error", "image record", "images[1].height")),
    "video length": (VIDEOS, ("videos", 1), put("length", 7), ("error", "video record", "videos[1].length")),
    "video id": (VIDEOS, ("annotations", 0), put("video_id", 9), ("error", "video id", "annotations[0].video_id")),
    "video entries": (VIDEOS, ("annotations", 0), put("areas", [1]), ("error", "entries per frame", "annotations[0].areas")),
    "video mask": (
        VIDEOS,
        ("annotations", 0),
        lambda record: record["segmentations"].__setitem__(2, "junk"),
        ("error", "mask", "annotations[0].segmentations[2]"),
    ),
    "video box": (
        VIDEOS,
        ("annotations", 0),
        lambda record: record["bboxes"].__setitem__(1, [1, 2, float("nan"), 4]),
        ("error", "box", "annotations[0].bboxes[1]"),
    ),
    "video box null": (
        VIDEOS,
        ("annotations", 0),
        lambda record: record["bboxes"].__setitem__(1, None),
        ("warning", "box without mask", "annotations[0].segmentations[1]"),
    ),
    "panoptic id": (
        PANOPTIC,
        ("annotations", 1, "segments_info", 0),
        put("category_id", 99),
        ("error", "category", "annotations[1].segments_info[0].category_id"),
    ),
    "panoptic area": (
        PANOPTIC,
        ("annotations", 1, "segments_info", 0),
        put("area", 4000),
        ("warning", "area does not fit mask", "annotations[1].segments_info[0].area"),
    ),
    "vipseg image": (
        VIPSEG,
        ("annotations", 1, "annotations", 2),
        drop("image_id"),
        ("error", "image id", "annotations[1].annotations[2].image_id"),
    ),
    "vipseg crowd": (
        VIPSEG,
        ("annotations", 1, "annotations", 2, "segments_info", 1),
        put("iscrowd", "no"),
        ("error", "iscrowd", "annotations[1].annotations[2].segments_info[1].iscrowd"),
    ),
}


@pytest.mark.parametrize("case", RECORDS)
def test_check_target__one_wrong_record__is_named_with_its_json_path(world, check, edited, faults_of, case):
    """Catches a fault that is passed over, or whose place is given wrongly."""
    name, path, change, expected = RECORDS[case]

    def edit(data):
        for step in path:
            data = data[step]
        change(data)

    edited(world / name, edit)
    found = faults_of(check(world / name))
    assert expected in found
    primary = [fault for fault in found if fault[0] == "error"]
    assert len(primary) <= 2, found  # the fault, and at most what follows from it


def test_check_target__many_wrong_records__all_are_listed_once(world, check, edited, faults_of):
    """Catches a checker that stops at the first fault of a file, of a record, or of a list."""

    def change(data):
        for record in data["annotations"]:
            record["iscrowd"] = 7
            record["category_id"] = 99
            record["segmentations"] = ["junk"] * 3

    edited(world / VIDEOS, change)
    report = check(world / VIDEOS)
    count = sum(f"annotations[{k}].iscrowd" == f.position for k in range(99) for f in report.faults)
    found = faults_of(report)
    assert count > 3
    assert len(found) == len(set(found)) == 5 * count  # crowd, category, three masks


def test_check_target__broken_image_record__its_objects_are_no_further_faults(world, check, edited, faults_of):
    """Catches an avalanche: one wrong size, and every annotation of that image reported too."""
    edited(world / INSTANCES, lambda data: data["images"][1].pop("width"))
    assert faults_of(check(world / INSTANCES)) == [("error", "image record", "images[1].width")]
    edited(world / INSTANCES, lambda data: data.pop("categories"))
    assert ("error", "structure", "categories") in faults_of(check(world / INSTANCES))
    assert not [f for f in faults_of(check(world / INSTANCES)) if f[1] == "category"]


def damage_pictures(folder):
    """Damage the three pictures of a folder: none, cut off, of another size."""
    paths = sorted(folder.glob("*.jpg"))
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-400])
    Image.new("RGB", (80, 50)).save(paths[2])


@pytest.mark.parametrize(
    ("name", "folder", "position"),
    [
        (INSTANCES, "images/images/train", "images[{}]"),
        (PANOPTIC, "images/images/train", "images[{}]"),
        (VIDEOS, "videos/train/JPEGImages/v000001", "videos[1].file_names[{}]"),
        (VIPSEG, "vipseg/images/train_000001", "videos[1].images[{}]"),
    ],
)
def test_check_target__damaged_pictures__each_is_named(world, check, faults_of, name, folder, position):
    """Catches pictures that are only found missing in the middle of a training run, or read half gray."""
    damage_pictures(world / folder)
    kinds = ["missing picture", "broken picture", "picture size"]
    found = faults_of(check(world / name))
    assert found == [("error", kind, position.format(k)) for k, kind in enumerate(kinds)]
    assert faults_of(check(world / name, pictures=False)) == []
    headers = [kind for _, kind, _ in faults_of(check(world / name, decode=False))]
    assert headers == ["missing picture", "picture size"]


def test_check_target__vspw_faults__each_is_named(world, check, faults_of):
    """Catches a value that is no category, a size that differs, pictures without masks and the reverse, an empty map."""
    first, second = world / "vspw/data/train_000000", world / "vspw/data/train_000001"
    labels = read_label_map(first / "mask/00000.png")
    write_label_map(first / "mask/00000.png", np.where(labels == labels[0, 0], 99, labels))
    write_label_map(first / "mask/00001.png", labels[:-1])
    write_label_map(first / "mask/00002.png", labels * 0)
    (second / "mask/00001.png").unlink()
    (second / "origin/00002.jpg").unlink()
    with (world / VSPW).open("a") as stream:
        stream.write("train_000001\nnowhere\n")
    found = faults_of(check(world / VSPW))
    assert {(kind, position) for _, kind, position in found} == {
        ("label", "train_000000/00000"),
        ("PNG size", "train_000000/00001"),
        ("nothing labelled", "train_000000/00002"),
        ("sizes differ in video", "train_000000"),
        ("missing label map", "train_000001/00001"),
        ("missing picture", "train_000001/00002"),
        ("missing picture", "nowhere"),
        ("duplicate id", ""),
    }


@pytest.mark.parametrize(
    ("name", "png", "position"),
    [
        (PANOPTIC, "images/panoptic/train/000001.png", "annotations[1]"),
        (VIPSEG, "vipseg/panomasksRGB/train_000001/00001.png", "annotations[1].annotations[1]"),
    ],
)
def test_check_target__png_and_json_disagree__both_ways(world, check, faults_of, name, png, position):
    """Catches ids found as an IndexError in training, and segments without pixels."""
    ids = read_id_map(world / png)
    write_id_map(world / png, np.where(ids == ids[0, 0], 4242, ids))
    found = faults_of(check(world / name))
    assert found == [("error", "PNG id not in JSON", position), ("error", "segment without pixels", position)]
    write_id_map(world / png, ids[1:])
    assert faults_of(check(world / name)) == [("error", "PNG size", position)]
    (world / png).write_bytes(b"junk")
    assert faults_of(check(world / name)) == [("error", "broken PNG", position)]
    (world / png).unlink()
    assert faults_of(check(world / name)) == [("error", "missing PNG", position)]


def test_check_target__exif_turned_picture__fits_upright_with_a_warning_else_error_with_the_reason(
    world, check, edited, faults_of
):
    """Catches masks that lie sideways on a picture that only some tools turn."""
    path = world / "images/images/train/000001.jpg"
    picture = Image.open(path).transpose(Image.Transpose.ROTATE_90)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(path, exif=exif)
    assert faults_of(check(world / INSTANCES)) == [("warning", "EXIF orientation", "images[1]")]
    shutil.copy(path, world / "images/images/train/000002.jpg")
    Image.open(world / "images/images/train/000000.jpg").save(path, exif=exif)
    report = check(world / INSTANCES)
    assert ("error", "picture size", "images[1]") in faults_of(report)
    assert any("before EXIF orientation 6" in fault.message for fault in report.faults)


def test_check_target__objects_twice_empty_and_never_visible__warnings(world, check, edited, faults_of):
    """Catches duplicated exports, empty masks and images without objects that nobody notices."""

    def images(data):
        data["annotations"].append({**data["annotations"][0], "id": 1000})
        data["annotations"][1]["segmentation"] = rle.encode(np.zeros((48, 80)))
        data["annotations"] = [record for record in data["annotations"] if record["image_id"] != 2]
        data["images"][2]["file_name"] = data["images"][0]["file_name"]

    edited(world / INSTANCES, images)
    found = faults_of(check(world / INSTANCES))
    assert {kind for _, kind, _ in found} == {
        "object listed twice",
        "empty mask",
        "image without objects",
        "file listed twice",
    }
    assert {severity for severity, _, _ in found} == {"warning"}

    def videos(data):
        data["annotations"][0].update(segmentations=[None] * 3, bboxes=[None] * 3, areas=[None] * 3)
        data["annotations"] = [record for record in data["annotations"] if record["video_id"] != 2]

    edited(world / VIDEOS, videos)
    found = faults_of(check(world / VIDEOS))
    assert found == [
        ("warning", "object never visible", "annotations[0]"),
        ("warning", "video without objects", "videos[1]"),
    ]


def test_check_target__vipseg_segment_changes_category__warning(world, check, edited, faults_of):
    """Catches an id that is used for two objects of a video."""

    def change(data):
        record = data["annotations"][0]["annotations"][2]["segments_info"][0]
        record["category_id"] = (record["category_id"] + 1) % 14

    edited(world / VIPSEG, change)
    assert faults_of(check(world / VIPSEG)) == [("warning", "segment changes category", "videos[0].images[2]")]


def test_check_target__file_that_is_no_json__one_fault_with_the_place(world, check):
    """Catches a checker that dies on the worst file."""
    text = (world / VIDEOS).read_text()
    (world / VIDEOS).write_text(text[: len(text) // 2])
    from dense.data.checking import Target, check_target

    report = check_target(Target("youtube-vis", str(world / VIDEOS)))
    assert [(fault.kind, fault.file) for fault in report.faults] == [("file", str(world / VIDEOS))]
    assert "line 1, column" in report.faults[0].message


def test_check_target__no_annotations__one_warning(world, check, edited, faults_of):
    """Catches a test set that is called faulty, or a training set without annotations that passes without a word."""
    for name in (VIDEOS, INSTANCES, VIPSEG):
        edited(world / name, lambda data: data.update(annotations=None))
        assert faults_of(check(world / name)) == [("warning", "no annotations", "")]
    for path in (world / "vspw/data").glob("*/mask/*.png"):
        path.unlink()
    assert faults_of(check(world / VSPW)) == [("warning", "no annotations", "")]
