"""Image data sets by name: the usual places, one's own data, kinds."""

import json

import pytest

from dense.data.datasets import find_dataset, resolve_instances, resolve_panoptic, resolve_semantic, thing_classes, with_kinds
from dense.data.datasets.image_categories import ADE20K, CITYSCAPES, COCO_STUFF, COCO_THINGS
from dense.data.world import make_image_world
from dense.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "/data")


PLACES = {
    "coco_2017_train": ("image_instance", ["/data/coco/annotations/instances_train2017.json", "/data/coco/train2017"]),
    "coco_2017_val": ("image_instance", ["/data/coco/annotations/instances_val2017.json", "/data/coco/val2017"]),
    "coco_2017_train_panoptic": (
        "image_panoptic",
        ["/data/coco/annotations/panoptic_train2017.json", "/data/coco/panoptic_train2017", "/data/coco/train2017"],
    ),
    "coco_2017_val_panoptic": (
        "image_panoptic",
        ["/data/coco/annotations/panoptic_val2017.json", "/data/coco/panoptic_val2017", "/data/coco/val2017"],
    ),
    "ade20k_sem_seg_train": (
        "image_semantic",
        ["/data/ADEChallengeData2016/images/training", "/data/ADEChallengeData2016/annotations_detectron2/training"],
    ),
    "ade20k_sem_seg_val": (
        "image_semantic",
        ["/data/ADEChallengeData2016/images/validation", "/data/ADEChallengeData2016/annotations_detectron2/validation"],
    ),
    "cityscapes_fine_sem_seg_train": (
        "image_semantic",
        ["/data/cityscapes/leftImg8bit/train", "/data/cityscapes/gtFine/train"],
    ),
    "cityscapes_fine_sem_seg_val": ("image_semantic", ["/data/cityscapes/leftImg8bit/val", "/data/cityscapes/gtFine/val"]),
}


@pytest.mark.parametrize("name", PLACES)
def test_find_dataset__official_name__usual_place(name):
    """Catches a data set that must be moved before it is found, and a name of another kind."""
    kind, places = PLACES[name]
    source = find_dataset(name, kind)
    found = [str(v) for k, v in vars(source).items() if k in ("json_path", "png_root", "image_root", "label_root")]
    assert sorted(found) == sorted(places)
    assert with_kinds([name], ["video_instance"]) == [(name, kind)]  # official configurations state no kind


@pytest.mark.parametrize("name", PLACES)
def test_read__data_set_not_there__one_line_with_the_path(name):
    """Catches a foreign traceback where the data is missing."""
    with pytest.raises(DataError, match=f"{name}.*DETECTRON2_DATASETS"):
        find_dataset(name, PLACES[name][0]).read()


def test_category_tables__coco__as_in_the_real_file(shared):
    """Catches a misspelt or shifted category."""
    stated = json.loads((shared / "data/real/annotations/coco_panoptic_categories.json").read_text())
    ours = {c.id: (c.name, c.isthing) for c in (*COCO_THINGS, *COCO_STUFF)}
    assert ours == {c["id"]: (c["name"], bool(c["isthing"])) for c in stated}


def test_category_tables__sizes_and_order__as_published():
    """Catches a name lost or doubled; ids must rise, as contiguous indices follow them."""
    assert [len(COCO_THINGS), len(COCO_STUFF), len(ADE20K), len(CITYSCAPES)] == [80, 53, 150, 19]
    ids = [c.id for c in (*COCO_THINGS, *COCO_STUFF)]
    assert ids == sorted(ids)
    assert len(set(ADE20K)) == 150
    assert [ADE20K[k] for k in (0, 12, 149)] == ["wall", "person", "flag"]
    assert [CITYSCAPES[k] for k in (0, 11, 18)] == ["road", "person", "bicycle"]


def test_thing_classes__by_kind__only_panoptic_sets_have_stuff():
    """Catches stuff merged as things or things merged as stuff."""
    assert thing_classes("coco_2017_val_panoptic", "image_panoptic") == frozenset(range(80))
    assert thing_classes("coco_2017_val", "image_instance") is None
    with pytest.raises(ConfigError, match="does not say"):
        thing_classes("ade20k_sem_seg_val", "image_semantic")


def test_resolve__own_data__paths_in_the_order_of_the_form(tmp_path):
    """Catches folders exchanged."""
    (tmp_path / "names.json").write_text('["a", "b"]')
    instances = resolve_instances("a.json:img")
    panoptic = resolve_panoptic("a.json:png:img")
    semantic = resolve_semantic(f"img:lab:{tmp_path / 'names.json'}")
    assert (str(instances.json_path), str(instances.image_root)) == ("a.json", "img")
    assert (str(panoptic.png_root), str(panoptic.image_root)) == ("png", "img")
    assert (str(semantic.image_root), str(semantic.label_root), semantic.category_names) == ("img", "lab", ("a", "b"))


@pytest.mark.parametrize(
    ("resolve", "name", "words"),
    [
        (resolve_instances, "coco_2017_trian", "coco_2017_train"),
        (resolve_panoptic, "coco_2017_panoptic_val", "ANNOTATIONS.json:PNG_FOLDER:IMAGES"),
        (resolve_semantic, "a:b", "IMAGES:LABELS:NAMES.json"),
        (resolve_instances, "a.json:", "ANNOTATIONS.json:IMAGES"),
    ],
)
def test_resolve__unknown_name__nearest_and_form(resolve, name, words):
    """Catches a bare KeyError."""
    with pytest.raises(ConfigError) as caught:
        resolve(name)
    assert words in str(caught.value)


def test_find_dataset__unknown_kind__nearest():
    """Catches a kind that is taken for another."""
    with pytest.raises(ConfigError, match="image_panoptic"):
        find_dataset("x", "image_panoptics")


def test_read__world__names_of_the_table(tmp_path, monkeypatch):
    """Catches a table that does not fit what the world writes."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    make_image_world(tmp_path / "world_images", train_images=1, valid_images=1, size=(64, 96), workers=1)
    for name in ("world_images_valid", "world_images_valid_panoptic", "world_images_valid_semantic"):
        ((_, kind),) = with_kinds([name], ["video_instance"])
        source = find_dataset(name, kind)
        assert source.read().category_names == source.category_names
        assert len(source.read().images) == 1
