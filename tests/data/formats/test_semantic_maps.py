"""Folders of pictures and label maps."""

import numpy as np
import pytest
from PIL import Image

from dense.data.formats.png_ids import write_label_map
from dense.data.formats.semantic_maps import read_semantic_folders
from dense.errors import DataError


@pytest.fixture
def folders(tmp_path):
    """Pictures 2 and 10 in a sub-folder, in Cityscapes' manner of naming."""
    for name in ("town/2", "town/10"):
        picture = tmp_path / "images" / f"{name}_left.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(picture)
        write_label_map(tmp_path / "labels" / f"{name}_ids.png", np.array([[0, 1, 255, 1]] * 3))
    return tmp_path


def read(root, names=("a", "b"), **options):
    return read_semantic_folders(
        root / "images", root / "labels", names, image_suffix="_left.png", label_suffix="_ids.png", **options
    )


def test_read_semantic_folders__suffixes__paired_in_natural_order(folders):
    """Catches pictures paired with the wrong map, and 10 before 2."""
    dataset = read(folders)
    assert [record.name for record in dataset.images] == ["town/2", "town/10"]
    assert all(
        record.image_path.stem.removesuffix("_left") == record.label_path.stem.removesuffix("_ids") for record in dataset.images
    )
    assert dataset.labels(dataset.images[0], (3, 4))[0].tolist() == [0, 1, 255, 1]


def test_read_semantic_folders__any_picture_suffix__paired_by_stem(tmp_path):
    """Catches pictures that must be PNG like their maps."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "images" / "x.JPG", "JPEG")
    write_label_map(tmp_path / "labels" / "x.png", np.zeros((3, 4)))
    dataset = read_semantic_folders(tmp_path / "images", tmp_path / "labels", ["a"])
    assert dataset.images[0].image_path.name == "x.JPG"


def test_read_semantic_folders__map_without_picture__error(folders):
    """Catches maps that are dropped silently."""
    (folders / "images" / "town" / "2_left.png").unlink()
    with pytest.raises(DataError, match=r"2_ids\.png"):
        read(folders)


@pytest.mark.parametrize("root", ["nowhere", "images"])
def test_read_semantic_folders__no_maps__error_names_the_folder(folders, root):
    """Catches an empty training set."""
    with pytest.raises(DataError, match=root):
        read_semantic_folders(folders / "images", folders / root, ["a"], label_suffix="_ids.png")


def test_labels__value_that_is_no_class__error_names_it(folders):
    """Catches a label that ends as an index error on the device."""
    dataset = read(folders, names=("a",))
    with pytest.raises(DataError, match="label 1, expected 0 to 0"):
        dataset.labels(dataset.images[0])


def test_labels__other_size_than_the_picture__error(folders):
    """Catches maps that do not lie over their picture."""
    dataset = read(folders)
    with pytest.raises(DataError, match="3x4"):
        dataset.labels(dataset.images[0], (4, 3))
