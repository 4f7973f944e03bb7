"""Tables of names, splits, and data sets with base and novel categories."""

import json

import numpy as np
import pytest

from dense.data.categories import lvis_v1, prompt_names, word_split
from dense.data.datasets import class_names, find_dataset, novel_names, resolve_federated, resolve_instances, with_kinds
from dense.data.datasets.image_categories import COCO_THINGS
from dense.data.formats.vocabulary import parse_vocabulary
from dense.data.world import make_word_world
from dense.errors import ConfigError, DataError
from dense.structures import rle


def test_lvis_v1__table__published_counts_and_known_rows():
    """Catches a lost line, shifted ids, or frequencies of another version of LVIS."""
    table = lvis_v1()
    assert [category.id for category in table] == list(range(1, 1204))
    counts = {f: sum(category.frequency == f for category in table) for f in "rcf"}
    assert counts == {"r": 337, "c": 461, "f": 405}
    assert (table[0].name, table[1202].name) == ("aerosol_can", "zucchini")
    assert table[22].synonyms[:2] == ("trash_can", "garbage_can")
    split = word_split("lvis_v1")
    assert (len(split.base), len(split.novel)) == (866, 337)
    parse_vocabulary(prompt_names(category.name for category in table))  # no two read alike


def test_lvis_v1__beside_detectron2__same_names_and_frequencies():
    """Catches a table that was edited by accident: Detectron2 has its own."""
    pytest.importorskip("detectron2")
    from detectron2.data.datasets.lvis_v1_categories import LVIS_CATEGORIES

    theirs = sorted((c["id"], c["name"], c["frequency"]) for c in LVIS_CATEGORIES)
    assert theirs == [(c.id, c.name, c.frequency) for c in lvis_v1()]


def test_word_split__coco__48_and_17_of_the_80():
    """Catches a misspelt name: that category would be trained on, or never found."""
    split = word_split("coco_48_17")
    names = {category.name for category in COCO_THINGS}
    assert (len(split.base), len(split.novel)) == (48, 17)
    assert {*split.base, *split.novel} <= names
    assert not {*split.base} & {*split.novel}
    assert len(class_names("coco_2017_train_48", "image_instance")) == 48
    assert len(class_names("coco_2017_val_65", "image_instance")) == 65


def test_word_split__own_file__the_rest_is_base(tmp_path):
    """Catches a misspelt novel name that is trained on, and a file that is not there."""
    (tmp_path / "n.txt").write_text("Key\ntrash can\n")
    split = word_split(tmp_path / "n.txt", ["fish", "key", "trash_can"])
    assert (split.base, split.novel) == (("fish",), ("key", "trash_can"))
    with pytest.raises(DataError, match=r"n\.txt: 'Key' is no category"):
        word_split(tmp_path / "n.txt", ["fish", "keys"])
    with pytest.raises(DataError, match=r"no such file.*coco_48_17"):
        word_split("coco_4817")


def test_prompt_names__mapping__edited_names_else_spaces(tmp_path):
    """Catches a mapping that is not read, and one of the wrong form."""
    assert prompt_names(["speaker_(stero_equipment)", "trash_can"]) == ("speaker (stereo equipment)", "trash can")
    (tmp_path / "m.json").write_text('{"trash_can": "dustbin"}')
    assert prompt_names(["trash_can", "a_b"], tmp_path / "m.json") == ("dustbin", "a b")
    for content in ("[]", '{"a": 3}'):
        (tmp_path / "m.json").write_text(content)
        with pytest.raises(DataError, match=r"m\.json"):
            prompt_names(["a"], tmp_path / "m.json")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path


def _write_coco(root):
    """Three images: a person (base) and a cat (novel); a traffic light (neither); nothing."""
    mask = np.zeros((6, 8), bool)
    mask[1:4, 1:5] = True
    code, box = rle.encode(mask), [1, 1, 4, 3]
    ids = {category.name: category.id for category in COCO_THINGS}
    objects = [(1, "person"), (1, "cat"), (2, "traffic light")]
    content = {
        "images": [{"id": k, "width": 8, "height": 6, "file_name": f"{k}.jpg"} for k in (1, 2, 3)],
        "categories": [{"id": category.id, "name": category.name} for category in COCO_THINGS],
        "annotations": [
            {"id": k, "image_id": i, "category_id": ids[name], "bbox": box, "area": 12, "segmentation": code, "iscrowd": 0}
            for k, (i, name) in enumerate(objects)
        ],
    }
    (root / "coco/annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (root / f"coco/annotations/instances_{split}2017.json").write_text(json.dumps(content))


def test_coco_parts__read__only_their_categories_and_images(root):
    """Catches novel boxes in training, and images of other categories that count as empty."""
    _write_coco(root)
    for name, count, categories in (("coco_2017_train_48", 1, 48), ("coco_2017_val_65", 2, 65)):
        dataset = resolve_instances(name).read(require_annotations=True)
        assert [image.id for image in dataset.images] == [1]
        assert len(dataset.images[0].objects) == count
        assert len(dataset.categories) == categories
    assert resolve_instances("coco_2017_train_48").read().contiguous_id(1) == 0
    assert len(novel_names("coco_2017_val_65@1")) == 17
    assert novel_names("coco_2017_val") == ()


def test_federated_sources__world_and_parts__base_only_with_limit(root):
    """Catches a kind that is not registered, negatives of categories that are left out, and a limit that is passed over."""
    make_word_world(root / "world_words", train_images=6, valid_images=2, size=(48, 64), workers=1)
    assert with_kinds(["world_words_train", "lvis_v1_train_base"], ["video_instance"]) == [
        ("world_words_train", "image_federated"),
        ("lvis_v1_train_base", "image_federated"),
    ]
    train, valid = (find_dataset(f"world_words_{part}", "image_federated").read() for part in ("train", "valid"))
    assert (len(train.categories), len(valid.categories)) == (44, 56)
    assert train.category_names == class_names("world_words_train", "image_federated")
    assert len(resolve_federated("world_words_train@2").read().objects.images) == 2
    with pytest.raises(DataError, match="fewer than 9"):
        resolve_federated("world_words_train@9").read()
    with pytest.raises(ConfigError, match="world_words_train"):
        resolve_federated("world_word_train")
    assert len(resolve_instances("world_words_train_instances").read().categories) == 44
    own = resolve_federated(f"{root}/world_words/annotations/lvis_valid.json:{root}/world_words/images/valid")
    assert own.read().category_names == valid.category_names


def test_federated_source__part_of_the_categories__nothing_of_the_others(root):
    """Catches LVIS without its rare categories that still says of which rare ones an image is free."""
    (root / "lvis").mkdir()
    table = [{"id": category.id, "name": category.name, "frequency": category.frequency} for category in lvis_v1()]
    rare = next(category.id for category in lvis_v1() if category.frequency == "r")
    base = next(category.id for category in lvis_v1() if category.frequency == "f")
    image = {"id": 5, "width": 8, "height": 6, "coco_url": "http://images.cocodataset.org/train2017/5.jpg"}
    objects = [
        {"id": k, "image_id": 5, "category_id": c, "bbox": [1, 1, 4, 3], "area": 12, "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]]}
        for k, c in enumerate((rare, base))
    ]
    content = {
        "images": [{**image, "neg_category_ids": [rare + 1, base], "not_exhaustive_category_ids": [rare]}],
        "categories": table,
        "annotations": objects,
    }
    (root / "lvis/lvis_v1_train.json").write_text(json.dumps(content))
    whole, part = (resolve_federated(name).read() for name in ("lvis_v1_train", "lvis_v1_train_base"))
    assert [item.category_id for item in whole.objects.images[0].objects] == [rare, base]
    assert [item.category_id for item in part.objects.images[0].objects] == [base]
    assert part.objects.image_path(part.objects.images[0]) == root / "coco/train2017/5.jpg"
    assert not any(lvis_v1()[k - 1].frequency == "r" for k in part.negatives[5] | part.not_exhaustive[5])
    assert set(part.frequencies) == set(part.objects.contiguous_ids)
