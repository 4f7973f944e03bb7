"""Data set catalogue: names to places, own data, Detectron2's catalogs."""

import json
from pathlib import Path

import pytest

from dense.data.datasets import DatasetSource, dataset_names, dataset_source, register_with_detectron2, resolve_dataset
from dense.data.datasets.categories import OVIS, YTVIS_2019, YTVIS_2021
from dense.errors import ConfigError, DataError

CASES = Path(__file__).parents[1] / "cases"


@pytest.mark.parametrize(
    ("name", "json_path", "images", "names"),
    [
        ("ytvis_2019_train", "ytvis_2019/train.json", "ytvis_2019/train/JPEGImages", YTVIS_2019),
        ("ytvis_2021_val", "ytvis_2021/valid.json", "ytvis_2021/valid/JPEGImages", YTVIS_2021),
        ("ytvis_2021_test", "ytvis_2021/test.json", "ytvis_2021/test/JPEGImages", YTVIS_2021),
        ("ytvis_2022_val", "ytvis_2022/valid/instances.json", "ytvis_2022/valid/JPEGImages", YTVIS_2021),
        ("ovis_val", "ovis/annotations/annotations_valid.json", "ovis/valid", OVIS),
    ],
)
def test_dataset_source__official_name__place_below_root(monkeypatch, tmp_path, name, json_path, images, names):
    """Catches places that differ from those where users of the official code keep the data."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert dataset_source(name) == DatasetSource(name, tmp_path / json_path, tmp_path / images, names)
    monkeypatch.delenv("DETECTRON2_DATASETS")
    assert resolve_dataset(name).json_path == Path("datasets") / json_path


def test_categories__published_tables__spot_checks():
    """Catches a name lost or doubled when the tables were typed: every later id would be wrong."""
    assert [len(t) for t in (YTVIS_2019, YTVIS_2021, OVIS)] == [40, 40, 25]
    assert all(len(set(t)) == len(t) for t in (YTVIS_2019, YTVIS_2021, OVIS))
    assert [YTVIS_2019[i - 1] for i in (1, 2, 6, 20, 29, 40)] == [
        "person",
        "giant_panda",
        "sedan",
        "bear",
        "truck",
        "tennis_racket",
    ]
    assert [YTVIS_2021[i - 1] for i in (1, 14, 26, 32, 40)] == ["airplane", "flying_disc", "person", "squirrel", "zebra"]
    assert [OVIS[i - 1] for i in (1, 12, 13, 25)] == ["Person", "Poultry", "Giant_panda", "Vehical"]


def test_categories__real_file__same_table(shared):
    """Catches a wrong YouTube-VIS 2019 table by comparing it with a file made from the official list."""
    content = json.loads((shared / "data" / "real" / "davis" / "gt.json").read_text(encoding="utf-8"))
    assert [(c["id"], c["name"]) for c in content["categories"]] == list(enumerate(YTVIS_2019, start=1))


@pytest.mark.parametrize(("wrong", "near"), [("ytvis_2109_train", "ytvis_2019_train"), ("OVIS_val", "ovis_val")])
def test_resolve_dataset__misspelt__nearest_name(wrong, near):
    """Catches a KeyError that leaves the user guessing."""
    with pytest.raises(ConfigError) as caught:
        resolve_dataset(wrong)
    assert wrong in str(caught.value)
    assert near in str(caught.value)


def test_resolve_dataset__json_and_folder__own_data():
    """Catches that own data needs code: two paths in the configuration must do."""
    source = resolve_dataset(f"{CASES}/yt-order-of-file-names/gt.json:{CASES}/yt-order-of-file-names/JPEGImages")
    dataset = source.read(check_files=True, require_annotations=True)
    assert dataset.category_names == ("person", "dog")
    assert dataset.frame_paths(dataset.videos[0])[0] == CASES / "yt-order-of-file-names" / "JPEGImages" / "v1" / "10.jpg"


def test_resolve_dataset__only_json__images_found_beside_it(tmp_path):
    """Catches a wrong guess of the image folder (the world's layout, one JPEGImages, none)."""
    name = str(tmp_path / "train.json")
    assert resolve_dataset(name).image_root == tmp_path
    (tmp_path / "JPEGImages").mkdir()
    assert resolve_dataset(name).image_root == tmp_path / "JPEGImages"
    (tmp_path / "train" / "JPEGImages").mkdir(parents=True)
    assert resolve_dataset(name).image_root == tmp_path / "train" / "JPEGImages"


def test_resolve_dataset__nothing_behind_the_colon__config_error():
    """Catches an empty folder name that would silently mean the working directory."""
    with pytest.raises(ConfigError, match="IMAGE_FOLDER"):
        resolve_dataset("own.json:")


def test_dataset_source_read__not_on_disk__says_where_to_put_it(monkeypatch, tmp_path):
    """Catches a bare `No such file` that does not name the environment variable."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(DataError, match="DETECTRON2_DATASETS") as caught:
        dataset_source("ovis_train").read()
    assert str(tmp_path / "ovis" / "annotations" / "annotations_train.json") in str(caught.value)


def test_dataset_source_read__frame_missing__error_before_training():
    """Catches a missing frame that would only be noticed in the middle of training."""
    folder = CASES / "yt-frame-missing"
    with pytest.raises(DataError, match=r"00001\.jpg"):
        resolve_dataset(str(folder / "gt.json")).read(check_files=True)


def test_dataset_source_read__other_categories_than_the_table__file_wins(monkeypatch, tmp_path, caplog):
    """Catches class names of the published table shown for a file that has others."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    (tmp_path / "ytvis_2019").mkdir()
    (tmp_path / "ytvis_2019" / "train.json").write_bytes((CASES / "yt-ok" / "gt.json").read_bytes())
    assert dataset_source("ytvis_2019_train").read().category_names == ("person", "dog")
    assert "differ" in caplog.text


def test_register_with_detectron2__twice__names_once_with_metadata(monkeypatch, tmp_path):
    """Catches a crash on names that are taken, early reading of files, class names and ids that do not fit the file."""
    data = pytest.importorskip("detectron2.data")
    own = f"{CASES}/yt-mixed-forms/gt.json:{tmp_path}"
    foreign = list(data.DatasetCatalog)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    added = register_with_detectron2([own])
    try:
        assert set(added) == {*dataset_names(), own} - set(foreign)
        assert register_with_detectron2([own]) == []
        for name in added:
            assert data.MetadataCatalog.get(name).evaluator_type == "ytvis"
        if "ovis_train" in added:
            assert data.MetadataCatalog.get("ovis_train").thing_classes == list(OVIS)
            assert data.MetadataCatalog.get("ovis_train").thing_dataset_id_to_contiguous_id[25] == 24
        (video,) = data.DatasetCatalog.get(own)
        assert [len(frame) for frame in video["annotations"]] == [1, 1, 1, 0]
        assert [frame[0]["bbox"] for frame in video["annotations"][:3]] == [[0, 0, 5, 4]] * 3
        assert video["file_names"][3] == str(tmp_path / "v1" / "00003.jpg")
        assert data.MetadataCatalog.get(own).thing_classes == ["person", "dog"]
    finally:
        for name in added:
            data.DatasetCatalog.pop(name)
            data.MetadataCatalog.pop(name)
