"""Vocabularies, prompts, the cache of embeddings, and embeddings from files."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from dense.errors import ConfigError, DataError
from dense.projects.dito.text.cache import EmbeddingCache
from dense.projects.dito.text.embedding_files import read_embeddings
from dense.projects.dito.text.encoder import TextEncoder
from dense.projects.dito.text.prompts import TEMPLATES, fill, templates
from dense.projects.dito.text.tokenizer import load_tokenizer
from dense.projects.dito.text.vocabulary import BACKGROUND, Vocabulary, clean_words

PLAIN = ("{}",)


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(1)
    tokenizer = load_tokenizer("configs/dito/world_tokenizer.json", 48)
    return TextEncoder(tokenizer, pieces=512, context=48, width=32, depth=1, heads=2, embedding=16)


class Counting:
    """A tower that counts the texts it embeds."""

    def __init__(self, tower):
        self.tower, self.texts = tower, []
        self.width, self.context = tower.width, tower.context
        self.lengths, self.fingerprint = tower.lengths, tower.fingerprint

    def __call__(self, texts):
        self.texts += texts
        return self.tower(texts)


def test_templates__imagenet__the_eighty_of_the_table():
    """Catches a pattern left out, in capitals, or there twice."""
    sentences = templates("imagenet")
    assert len(sentences) == len(set(sentences)) == 80
    assert all(s.count("{}") == 1 and s.endswith(".") and s == s.lower() for s in sentences)
    starts = ("a photo of ", "itap of ", "graffiti of ", "art of ")
    assert [sum(s.startswith(start) for s in sentences) for start in starts] == [21, 3, 2, 2]
    assert sum("in a video game" in s for s in sentences) == 2
    assert {
        "a photo of many {}.",
        "the plushie {}.",
        "a black and white photo of the {}.",
        "a photo of the hard to see {}.",
    } <= {*sentences}
    assert len(TEMPLATES["tiny"]) == 4
    with pytest.raises(ConfigError, match="imagenet"):
        templates("imagnet")


def test_fill__words_with_braces_and_capitals__as_letters():
    """Catches words that are read as format strings."""
    assert fill(["a {}."], "Set {0} {}") == ["a set {0} {}."]
    with pytest.raises(ConfigError, match="2 places"):
        fill(["{} {}"], "x")
    with pytest.raises(ConfigError, match="none"):
        fill([], "x")


def test_vocabulary__words__mean_over_templates_background_first(tower):
    """Catches a mean of unit rows, a background without templates or in another row, and words out of order."""
    words = ["red disc", "Blue Star", "striped  ring "]
    made = Vocabulary.from_words(words, tower, TEMPLATES["tiny"], base=["blue star"])
    assert made.names == ("red disc", "Blue Star", "striped ring")
    for word, row in zip([BACKGROUND, "red disc", "blue star", "striped ring"], made.embeddings, strict=True):
        texts = [
            f"a photo of a {word}.",
            f"a photo of the {word}.",
            f"a drawing of a {word}.",
            f"a bright photo of the {word}.",
        ]
        torch.testing.assert_close(row, tower(texts).mean(0).detach(), rtol=1e-5, atol=1e-6)
    assert made.is_base.tolist() == [False, True, False]
    assert len(made) == 3
    assert made.embeddings.dtype == torch.float32


def test_vocabulary__no_words__the_background_alone(tower):
    """Catches a crash on an empty vocabulary (acceptance check 10)."""
    made = Vocabulary.from_words([], tower, PLAIN, base=[])
    assert made.embeddings.shape == (1, 16)
    assert made.is_base.shape == (0,)
    assert Vocabulary.from_words(["a"], tower, PLAIN).embeddings.shape == (2, 16)


def test_clean_words__duplicates__error_drop_or_keep():
    """Catches classes that share their score unnoticed, and classes that are renumbered without being asked to."""
    words = ["Red disc", "star", " red  DISC", "caf\u00e9", "cafe\u0301"]
    with pytest.raises(DataError, match=r"words\[2\].*words\[0\]"):
        clean_words(words)
    assert clean_words(words, "drop") == ["Red disc", "star", "café"]
    assert len(clean_words(words, "keep")) == 5
    with pytest.raises(ConfigError, match="duplicates"):
        clean_words(words, "merge")


@pytest.mark.parametrize("blank", ["", "  ", "\t\n", "\u200b", "\u00a0"])
def test_clean_words__blank__named(blank):
    """Catches a class without a name, which would be the background's double."""
    with pytest.raises(DataError, match=r"words\[1\]: blank"):
        clean_words(["a", blank])


def test_clean_words__no_list_of_texts__named():
    """Catches a vocabulary of single letters, and numbers from a file."""
    with pytest.raises(DataError, match="one text"):
        clean_words("star")
    with pytest.raises(DataError, match=r"words\[1\]: 5"):
        clean_words(["a", 5])


def test_vocabulary__equal_words_kept__equal_rows(tower):
    """Catches rows shifted by a word embedded once."""
    made = Vocabulary.from_words(["star", "ring", "Star"], tower, PLAIN, duplicates="keep")
    assert torch.equal(made.embeddings[1], made.embeddings[3])
    assert not torch.equal(made.embeddings[1], made.embeddings[2])


def test_vocabulary__other_scripts__different_rows(tower):
    """Catches foreign words that all become one unknown sign."""
    rows = Vocabulary.from_words(["猫", "犬", "кот", "مرحبا", "🦊"], tower, PLAIN).embeddings
    distances = torch.cdist(rows, rows) + torch.eye(6) * 9
    assert float(distances.min()) > 1e-3


def test_vocabulary__a_thousand_words__each_as_alone(tower):
    """Catches batches that mix rows up."""
    words = [f"{a} {b} {n}" for a in ("red", "blue", "dotted") for b in ("disc", "ring") for n in range(200)]
    made = Vocabulary.from_words(words, tower, PLAIN)
    assert made.embeddings.shape == (1201, 16)
    for k in (0, 613, 1199):
        torch.testing.assert_close(made.embeddings[k + 1], tower([words[k]])[0].detach(), rtol=1e-5, atol=1e-6)


def test_vocabulary__word_longer_than_the_context__refused_with_its_length(tower):
    """Catches words whose ends are cut off, so that two of them look the same."""
    with pytest.raises(DataError, match="reads 48"):
        Vocabulary.from_words(["star", "red " * 60], tower, PLAIN)
    fits = "red " * 45
    Vocabulary.from_words([fits], tower, PLAIN)
    with pytest.raises(DataError, match="shorter templates"):
        Vocabulary.from_words([fits], tower, TEMPLATES["tiny"])


def test_vocabulary__base_word_that_is_not_there__named(tower):
    """Catches a split written for other names: its words would silently count as novel."""
    with pytest.raises(DataError, match="'moon'"):
        Vocabulary.from_words(["star"], tower, PLAIN, base=["moon"])


def test_cache__second_time__nothing_is_embedded(tower, tmp_path):
    """Catches a cache that is not read, and one that forgets earlier words when it is added to."""
    cache, counting = EmbeddingCache(tmp_path / "cache"), Counting(tower)
    first = Vocabulary.from_words(["star", "ring"], counting, PLAIN, cache=cache)
    assert sorted(counting.texts) == [".", "ring", "star"]
    more = Vocabulary.from_words(["disc", "STAR"], counting, PLAIN, cache=cache)
    assert counting.texts[3:] == ["disc"]
    assert torch.equal(more.embeddings[2], first.embeddings[1])
    again = Vocabulary.from_words(["ring", "disc", "star"], counting, PLAIN, cache=cache)
    assert len(counting.texts) == 4
    assert torch.equal(again.embeddings[0], first.embeddings[0])
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_cache__other_weights_or_templates__not_used(tower, tmp_path):
    """Catches stale embeddings after further training."""
    cache, counting = EmbeddingCache(tmp_path), Counting(tower)
    old = Vocabulary.from_words(["star"], counting, PLAIN, cache=cache)
    Vocabulary.from_words(["star"], counting, ("a {}",), cache=cache)
    assert len(counting.texts) == 4
    with torch.no_grad():
        tower.projection.weight.mul_(2)
    try:
        new = Vocabulary.from_words(["star"], counting, PLAIN, cache=cache)
    finally:
        with torch.no_grad():
            tower.projection.weight.div_(2)
    assert len(counting.texts) == 6
    torch.testing.assert_close(new.embeddings, 2 * old.embeddings)


@pytest.mark.parametrize("damage", [lambda b: b[:20], lambda b: b"", lambda b: b[:-4], lambda b: b"x" * 100])
def test_cache__damaged_file__computed_again(tower, tmp_path, damage, caplog):
    """Catches a crash after a killed copy, and half a file taken for the whole."""
    cache = EmbeddingCache(tmp_path)
    first = Vocabulary.from_words(["star"], tower, PLAIN, cache=cache)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    again = Vocabulary.from_words(["star"], tower, PLAIN, cache=cache)
    assert torch.equal(first.embeddings, again.embeddings)
    assert "damaged" in caplog.text
    assert cache.read(path).keys() == {".", "star"}


def test_cache__write_fails_half_way__old_file_stays(tower, tmp_path, monkeypatch):
    """Catches files written in place."""
    cache = EmbeddingCache(tmp_path)
    Vocabulary.from_words(["star"], tower, PLAIN, cache=cache)
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        Vocabulary.from_words(["ring"], tower, PLAIN, cache=cache)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_vocabulary__saved_and_read__the_same(tower, tmp_path):
    """Catches names or base flags lost on the way."""
    made = Vocabulary.from_words(["star", "猫"], tower, PLAIN, base=["star"])
    made.save(tmp_path / "v.safetensors")
    read = Vocabulary.from_file(tmp_path / "v.safetensors")
    assert read.names == made.names
    assert torch.equal(read.embeddings, made.embeddings)
    assert torch.equal(read.is_base, made.is_base)


def test_from_file__each_format__rows_and_names(tmp_path):
    """Catches a format whose names are passed over."""
    rows = np.arange(12, dtype=np.float64).reshape(3, 4)
    np.save(tmp_path / "a.npy", rows)
    (tmp_path / "a.names.txt").write_text("star\nring\n", encoding="utf-8")
    np.savez(tmp_path / "b.npz", embeddings=rows, names=np.array(["star", "ring"]), is_base=np.array([True, False]))
    save_file({"anything": rows.astype(np.float16)}, tmp_path / "c.safetensors")
    (tmp_path / "c.names.json").write_text('["star", "ring"]', encoding="utf-8")
    for name in ("a.npy", "b.npz", "c.safetensors"):
        made = Vocabulary.from_file(tmp_path / name)
        assert made.names == ("star", "ring")
        assert torch.equal(made.embeddings, torch.from_numpy(rows).float())
        assert (made.is_base is not None) == (name == "b.npz")
    assert Vocabulary.from_file(tmp_path / "a.npy", ["x", "y"]).names == ("x", "y")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: np.save(p / "x.npy", np.zeros(3)), "expected 'embeddings'"),
        (lambda p: np.save(p / "x.npy", np.array([[1.0, np.nan]])), "row 0"),
        (lambda p: np.save(p / "x.npy", np.array([["a"]])), "expected numbers"),
        (lambda p: np.save(p / "x.npy", np.array([[{}]]), allow_pickle=True), "without Python objects"),
        (lambda p: np.save(p / "x.npy", np.zeros((2, 3))), "has no names"),
        (lambda p: (p / "x.npy").write_bytes(b""), "cannot be read"),
        (lambda p: None, "cannot be read"),
    ],
)
def test_from_file__unusable__named(tmp_path, make, message):
    """Catches foreign errors, pickles that run, and rows that are not finite."""
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        Vocabulary.from_file(tmp_path / "x.npy")


def test_read_embeddings__damaged_archives_and_names__named(tmp_path):
    """Catches foreign errors of the other two formats."""
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 3)), b=np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"a \[2, 3\], b"):
        read_embeddings(tmp_path / "x.npz")
    content = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "x.safetensors").write_bytes(b"123")
    for name in ("x.npz", "x.safetensors", "x.pt"):
        with pytest.raises(DataError, match=name):
            read_embeddings(tmp_path / name)
    save_file({"e": np.zeros((2, 3), np.float32)}, tmp_path / "y.safetensors", {"names": json.dumps({"a": 1})})
    with pytest.raises(DataError, match="no list"):
        read_embeddings(tmp_path / "y.safetensors")


def test_vocabulary__parts_that_do_not_fit__named():
    """Catches a table without background row, and flags with one."""
    with pytest.raises(DataError, match=r"expected \(3, D\)"):
        Vocabulary(("a", "b"), torch.zeros(2, 4))
    with pytest.raises(DataError, match="is_base"):
        Vocabulary(("a",), torch.zeros(2, 4), torch.zeros(2, dtype=torch.bool))
    with pytest.raises(DataError, match=r"row 1 \(a\)"):
        Vocabulary(("a",), torch.tensor([[0.0], [torch.inf]]))


def test_padded__places__filled_with_the_empty_row():
    """Catches an export whose free places score like words."""
    made = Vocabulary(("a",), torch.tensor([[1.0, 2], [3, 4]]))
    assert made.padded(4, torch.tensor([9.0, 8])).tolist() == [[1, 2], [3, 4], [9, 8], [9, 8]]
    assert torch.equal(made.padded(2, torch.zeros(2)), made.embeddings)
    with pytest.raises(DataError, match="1 places"):
        made.padded(1, torch.zeros(2))
