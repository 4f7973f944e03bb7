"""The world of words: base and novel categories, captions about what can be seen, federated annotations that tell the truth."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from dense.data.formats.coco import read_coco
from dense.data.formats.lvis import read_lvis
from dense.data.world import THINGS, WORD_CATEGORIES, make_word_world
from dense.data.world.categories import COLOURS
from dense.data.world.command import main
from dense.data.world.words import APPEARANCES, draw_word_looks, word_category
from dense.data.world.words_writer import word_parameters
from dense.errors import DataError

SIZE = (64, 96)
NOVEL = {category.id for category in WORD_CATEGORIES if category.novel}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("words")
    make_word_world(root, train_images=24, valid_images=8, size=SIZE, workers=1)
    return root


def digest(root: Path) -> dict[str, str]:
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def captions(world, split):
    """Sentences by image id."""
    content = json.loads((world / f"annotations/captions_{split}.json").read_text())
    found = {image["id"]: [] for image in content["images"]}
    for record in content["annotations"]:
        found[record["image_id"]].append(record["caption"])
    return found


def seen(world, split):
    """Category ids of each picture's visible things, novel ones too, straight from the scenes."""
    from dense.data.world.word_scenes import render_words

    parameters = word_parameters(0, 24, 8, SIZE)
    found = {}
    for number in range(24 if split == "train" else 8):
        words = render_words(parameters, split, number)
        shown = words.picture.masks[:, 0].any((1, 2))
        found[number + 1] = [category.id for category, there in zip(words.categories, shown, strict=True) if there]
    return found


def test_word_categories__table__each_word_of_a_novel_pair_is_known_from_base_pairs():
    """Catches a novel category that nothing could teach: a shape or an appearance that no base category has."""
    base = [category for category in WORD_CATEGORIES if not category.novel]
    assert (len(WORD_CATEGORIES), len(NOVEL)) == (len(THINGS) * len(APPEARANCES), 12)
    assert [category.id for category in WORD_CATEGORIES] == list(range(1, 57))
    for category in WORD_CATEGORIES:
        assert any(other.shape == category.shape for other in base)
        assert sum(other.appearance == category.appearance for other in base) >= 10
    assert len({name for category in WORD_CATEGORIES for name in category.synonyms}) == sum(
        len(category.synonyms) for category in WORD_CATEGORIES
    )


def test_draw_word_looks__many__frequent_three_times_common_and_no_look_of_two_categories():
    """Catches weights that do not act, and a red pattern that is both red and striped."""
    counts = np.zeros(len(WORD_CATEGORIES))
    for seed in range(1500):
        for look in draw_word_looks(np.random.default_rng(seed)):
            counts[word_category(look).id - 1] += 1
            if look.texture != "plain":
                assert not {look.colour, look.second_colour} & set(APPEARANCES)
                luma = [np.dot((0.299, 0.587, 0.114), COLOURS[name]) for name in (look.colour, look.second_colour)]
                assert abs(luma[0] - luma[1]) >= 70
    mean = {f: counts[[c.frequency == f for c in WORD_CATEGORIES]].mean() for f in "fcr"}
    assert 1.8 < mean["f"] / mean["c"] < 3.3
    assert mean["r"] > mean["c"]


def test_make_word_world__training_part__novel_objects_seen_and_said_but_never_annotated(world):
    """Catches a leak of novel boxes into training, and a split whose novel categories are nowhere to be learnt."""
    for kind in ("instances", "lvis"):
        content = json.loads((world / f"annotations/{kind}_train.json").read_text())
        assert {category["id"] for category in content["categories"]} == {c.id for c in WORD_CATEGORIES if not c.novel}
        assert not {record["category_id"] for record in content["annotations"]} & NOVEL
    images = captions(world, "train")
    said = " ".join(sentence for sentences in images.values() for sentence in sentences)
    shown = {identity for found in seen(world, "train").values() for identity in found}
    assert len(shown & NOVEL) >= 5
    assert sum(any(word in said for word in WORD_CATEGORIES[k - 1].synonyms) for k in shown & NOVEL) >= 5


def test_make_word_world__coco_file__every_visible_object_of_its_categories(world):
    """Catches objects that are lost or doubled, and ids that mean another category."""
    for split in ("train", "valid"):
        dataset = read_coco(
            world / f"annotations/instances_{split}.json", world / f"images/{split}", check_files=True, require_annotations=True
        )
        names = {category.id: category.name for category in dataset.categories}
        assert all(names[k] == WORD_CATEGORIES[k - 1].name for k in names)
        visible = seen(world, split)
        for image in dataset.images:
            assert [item.category_id for item in image.objects] == [k for k in visible[image.id] if k in names]


def test_make_word_world__lvis_file__negatives_absent_and_partial_categories_partial(world):
    """Catches a negative category that is there, and a missing object that nothing admits."""
    for split in ("train", "valid"):
        truth = read_lvis(world / f"annotations/lvis_{split}.json", world / f"images/{split}")
        known, visible = set(truth.objects.contiguous_ids), seen(world, split)
        for image in truth.objects.images:
            marked = [item.category_id for item in image.objects]
            assert not truth.negatives[image.id] & set(visible[image.id])
            assert 0 < len(truth.negatives[image.id]) <= 12
            for category in set(marked):
                complete = marked.count(category) == visible[image.id].count(category)
                assert complete != (category in truth.not_exhaustive[image.id])
            assert truth.not_exhaustive[image.id] <= set(marked) <= known


def test_make_word_world__captions__name_only_what_is_there(world):
    """Catches captions of another picture or of hidden things."""
    pattern = re.compile(
        "|".join(sorted((name for category in WORD_CATEGORIES for name in category.synonyms), key=len, reverse=True))
    )
    ids = {name: category.id for category in WORD_CATEGORIES for name in category.synonyms}
    for split in ("train", "valid"):
        visible, named = seen(world, split), 0
        for image, sentences in captions(world, split).items():
            assert len(sentences) == 3
            found = {ids[name] for sentence in sentences for name in pattern.findall(sentence)}
            assert found <= set(visible[image])
            named += len(found)
        assert named > 2 * len(visible)


def test_make_word_world__other_folder_and_workers__equal_bytes_and_kept(world, tmp_path):
    """Catches anything random, dated or dependent on the number of processes."""
    report = make_word_world(tmp_path / "again", train_images=24, valid_images=8, size=SIZE, workers=2)
    assert not report.kept
    assert digest(tmp_path / "again") == digest(world)
    assert make_word_world(tmp_path / "again", train_images=24, valid_images=8, size=SIZE, workers=1).kept
    (tmp_path / "again/images/train/000003.jpg").unlink()
    assert not make_word_world(tmp_path / "again", train_images=24, valid_images=8, size=SIZE, workers=1).kept
    assert digest(tmp_path / "again") == digest(world)


def test_make_word_world__other_world_in_the_folder__refused(world):
    """Catches a world of pictures that is overwritten by one of words."""
    with pytest.raises(DataError, match="other parameters"):
        make_word_world(world, seed=5, train_images=24, valid_images=8, size=SIZE)


def test_main__kind_words__world_and_preview(tmp_path, capsys):
    """Catches a command line that does not know the kind, or a preview that crashes."""
    arguments = ["--kind", "words", "--output", str(tmp_path / "w"), "--train-images", "1", "--valid-images", "2"]
    assert main([*arguments, "--height", "64", "--width", "96", "--workers", "1", "--preview", "3"]) == 0
    assert (tmp_path / "w/preview.png").is_file()
    assert "1 + 2 images" in capsys.readouterr().out
