"""Lists of videos."""

import pytest

from dense.data.formats.faults import FaultLog
from dense.data.formats.name_lists import read_names
from dense.errors import DataError


def test_read_names__blank_lines_byte_order_mark_and_spaces__names_in_order(tmp_path):
    """Catches a name that begins with a byte-order mark, and an empty one."""
    (tmp_path / "val.txt").write_bytes("\ufeffb 1\r\n\r\n  a\n".encode())
    assert read_names(tmp_path / "val.txt") == ["b 1", "a"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a\n../b\n", "line 2"), (b"a\n\na\n", "line 3"), (b"..\n", "line 1"), (b"\xff\n", "text"), (b" \n", "lists no video")],
)
def test_read_names__wrong_list__names_the_line(tmp_path, content, words):
    """Catches videos counted twice, and files read outside of the data set."""
    (tmp_path / "val.txt").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_names(tmp_path / "val.txt")


def test_read_names__faults_collected__all_are_noted_and_the_rest_is_read(tmp_path):
    """Catches a check that stops at the first wrong line."""
    path = tmp_path / "val.txt"
    path.write_text("a\na\nx/y\nb\n")
    log = FaultLog(str(path))
    assert read_names(path, log) == ["a", "b"]
    assert len(log.faults) == 2
