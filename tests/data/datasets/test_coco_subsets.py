"""COCO's parts for video models, and classes of one data set as those of another."""

import json

import pytest

from dense.data.datasets import class_map, resolve_dataset, resolve_instances, with_kinds
from dense.data.datasets.categories import OVIS, YTVIS_2019, YTVIS_2021
from dense.data.datasets.category_maps import COCO_TO_VIDEO
from dense.data.datasets.image_categories import COCO_THINGS
from dense.data.formats.category_table import Category
from dense.errors import ConfigError, DataError

COCO_NAMES = {c.id: c.name for c in COCO_THINGS}
# What is not the same word in both sets, for a reader of the tables to check.
ALIKE = {
    ("bicycle", "motorbike"), ("motorcycle", "motorbike"), ("car", "sedan"), ("bus", "truck"), ("skis", "snowboard"),
    ("cow", "cow"), ("car", "Vehical"), ("bus", "Vehical"), ("truck", "Vehical"), ("frisbee", "flying_disc"),
    ("bear", "bear"),
}  # fmt: skip


@pytest.mark.parametrize("names", [YTVIS_2019, YTVIS_2021, OVIS], ids=["2019", "2021", "ovis"])
def test_tables__every_pair__means_the_same_thing(names):
    """Catches a number that slipped: a table that trains giraffes as zebras."""
    for coco, video in COCO_TO_VIDEO[names].items():
        pair = (COCO_NAMES[coco], names[video - 1])
        assert pair in ALIKE or pair[0].replace(" ", "_") == pair[1].lower(), pair


def test_class_map__coco_to_a_video_set__by_the_table():
    """Catches ids of the target used as class indices (they start at 1)."""
    found = class_map(COCO_THINGS, YTVIS_2019)
    assert found[1] == YTVIS_2019.index("person") == 0
    assert found[43] == YTVIS_2019.index("tennis_racket") == 39
    assert 16 not in found  # bird


def test_class_map__other_sets__by_name_whatever_the_case():
    """Catches a map between video sets that is by position."""
    source = [Category(k + 1, name) for k, name in enumerate(OVIS)]
    found = class_map(source, YTVIS_2021)
    assert {OVIS[k - 1].lower(): YTVIS_2021[c] for k, c in found.items()} == {
        name.lower(): name.lower() for name in OVIS if name.lower() in YTVIS_2021
    }


def test_class_map__nothing_in_common__error_names_both():
    """Catches a training set of which every object is left out without a word."""
    with pytest.raises(ConfigError, match=r"no category of 'mine' \(a\).*\(b\)"):
        class_map([Category(1, "a")], ["b"], "mine")


@pytest.fixture
def coco(tmp_path, monkeypatch):
    """COCO's file with a person (1) and a bird (16), the latter without counterpart in YouTube-VIS 2019."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    box = {"bbox": [1, 1, 4, 4], "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]}
    data = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": 8, "width": 8} for n in (1, 2)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, **box}, {"id": 2, "image_id": 2, "category_id": 16, **box}],
        "categories": [{"id": c.id, "name": c.name} for c in COCO_THINGS],
    }
    folder = tmp_path / "coco" / "annotations"
    folder.mkdir(parents=True)
    (folder / "instances_train2017.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def test_subset__only_the_whole_file__part_of_it(coco):
    """Catches objects that have no class, and a set that wants a file which nobody has made."""
    dataset = resolve_instances("coco2ytvis2019_train").read(require_annotations=True)
    assert [len(image.objects) for image in dataset.images] == [1, 0]
    assert len(resolve_instances("coco2ytvis2021_train").read().images[1].objects) == 1  # birds are one of its classes


def test_subset__own_file__is_read(coco):
    """Catches the whole file taken although the part has been made."""
    data = json.loads((coco / "instances_train2017.json").read_text(encoding="utf-8"))
    data["images"] = data["images"][:1]
    data["annotations"] = data["annotations"][:1]
    (coco / "coco2ytvis2019_train.json").write_text(json.dumps(data), encoding="utf-8")
    assert len(resolve_instances("coco2ytvis2019_train").read().images) == 1


def test_subset__nothing_there__error_names_the_part(tmp_path, monkeypatch):
    """Catches an error about a file that the user did not ask for."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(DataError, match=r"coco2ovis_train.*coco2ovis_train\.json does not exist"):
        resolve_instances("coco2ovis_train").read()


def test_names__official_lists__have_their_kinds():
    """Catches official configurations whose image sets are taken for video sets."""
    names = ("coco2ytvis2019_train", "ytvis_2019_train")
    assert with_kinds(names, ["video_instance"]) == [(names[0], "image_instance"), (names[1], "video_instance")]
    assert resolve_dataset(names[1]).category_names == YTVIS_2019
