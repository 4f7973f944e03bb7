"""Lists of class names."""

import json

import pytest

from dense.data.formats.vocabulary import parse_vocabulary, read_vocabulary
from dense.errors import DataError


def test_parse__synonyms_and_spelling__cleaned():
    """Catches names that reach a text encoder with underscores or blanks, and doubled synonyms."""
    assert parse_vocabulary(["cat, kitten,cat", "speaker_(stereo_equipment)", " dog "]) == (
        ("cat", "kitten"),
        ("speaker (stereo equipment)",),
        ("dog",),
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat", " "], "name 1 is empty"),
        (["cat,,lion"], "name 0 .* has an empty synonym"),
        (["cat", "lion, Cat"], r"name 1 \('Cat'\) stands at 0 already"),
        ([3], "name 0 is 3, expected text"),
        ([], "is empty"),
    ],
)
def test_parse__wrong_name__position_named(names, message):
    """Catches a class that can never be found, or that is found twice."""
    with pytest.raises(DataError, match=f"v.json: {message}"):
        parse_vocabulary(names, "v.json")


def test_read__json_and_text__same(tmp_path):
    """Catches a text file's empty lines taken for names."""
    (tmp_path / "a.json").write_text(json.dumps(["cat", "dög, hound"]), encoding="utf-8")
    (tmp_path / "a.txt").write_text("cat\n\ndög, hound\n", encoding="utf-8")
    assert read_vocabulary(tmp_path / "a.json") == read_vocabulary(tmp_path / "a.txt") == (("cat",), ("dög", "hound"))
    (tmp_path / "b.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"b\.json: holds a dict"):
        read_vocabulary(tmp_path / "b.json")
