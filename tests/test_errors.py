"""Messages: one printable line, whatever a file says."""

import pickle

import pytest

from dense.errors import DataError, DependencyError, escaped, shown
from dense.video import DamagedVideoError


@pytest.mark.parametrize("kind", [DataError, DependencyError])
def test_message__line_breaks_and_control_characters__escaped(kind):
    """Catches a file name that writes a second line, clears the terminal or cannot be printed."""
    error = kind("a\nb\x1b[2J\u2028\ud800\x00.json: wrong")
    assert str(error) == r"a\nb\x1b[2J\u2028\ud800\x00.json: wrong"
    str(error).encode()


def test_message__text_of_other_scripts__as_it_is():
    """Catches escapes in names that print well."""
    assert str(DataError("Straße/日本\u202f1.png: wrong")) == "Straße/日本\u202f1.png: wrong"
    assert escaped("ä\tb") == r"ä\tb"


def test_message__too_long__both_ends_kept():
    """Catches a megabyte of somebody's file in the terminal."""
    text = str(DataError("x.json: " + "y" * 1_000_000 + " expected text."))
    assert len(text) < 2000
    assert text.startswith("x.json: yyy")
    assert text.endswith("expected text.")


def test_error__pickled__same_again():
    """Catches errors that a data loader's process cannot hand over."""
    assert str(pickle.loads(pickle.dumps(DataError("a\nb")))) == r"a\nb"  # noqa: S301  our own
    assert DamagedVideoError("x\ny", 3).frames_read == 3


def test_shown__large_deep_and_huge__short():
    """Catches a repr that takes the memory, the stack, or is refused by Python (integers above 4,300 digits)."""
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, "x" * 10**6, list(range(10**5)), 16**10_000, {"a": {"b": {"c": {"d": {"e": 1}}}}}, -(10**4000)):
        assert len(shown(value)) < 200
    assert shown("text") == "'text'"
    assert shown(7.5) == "7.5"
    while deep:  # freed from the outside in
        deep = deep[0]
