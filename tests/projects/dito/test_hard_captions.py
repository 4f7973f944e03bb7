"""Captions with swapped words: false, and only false ones."""

import pytest
import torch

from dense.errors import ConfigError
from dense.projects.dito.text.hard_captions import HardCaptions

GROUPS = [["red", "blue", "striped"], ["disc", "star", "ring"], ["discs", "stars"]]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a red disc and a blue star.", {"a blue disc and a red star.", "a red star and a blue disc."}),
        ("A Red disc left of a blue disc", {"A blue disc left of a Red disc"}),
        ("a red star and a blue star", set()),  # either swap says the same
        ("a red disc, a red star and a red disc", set()),
        ("a red star and a red star", set()),
        ("two red discs and a blue star", {"two blue discs and a red star"}),  # plural and singular are no pair
        ("a disc in red and blue on sand", set()),  # the order of a pattern's colours says nothing
        ("a ring", set()),
        ("", set()),
    ],
)
def test_versions__captions__false_ones_only(caption, expected):
    """Catches swaps that stay true, across groups, or of equal words."""
    assert set(HardCaptions(GROUPS).versions(caption)) == expected


def test_hard_captions__fewer_versions_than_asked__masked():
    """Catches repetitions of a caption that count as false."""
    torch.manual_seed(0)
    texts, mask = HardCaptions(GROUPS, 3)(["a red disc and a blue star", "a ring"])
    assert mask.tolist() == [[True, True, False], [False, False, False]]
    assert len(texts) == 6
    assert texts[2] == "a red disc and a blue star"
    assert texts[3:] == ["a ring"] * 3


def test_hard_captions__more_versions_than_asked__all_drawn_in_time():
    """Catches the same version in every step."""
    hard = HardCaptions(GROUPS, 1)
    assert len({hard(["a red disc and a blue star"])[0][0] for _ in range(20)}) == 2


def test_hard_captions__no_or_ambiguous_groups__refused():
    """Catches a stage that runs without any false caption."""
    with pytest.raises(ConfigError, match="no words"):
        HardCaptions([])
    with pytest.raises(ConfigError, match="two groups"):
        HardCaptions([["red"], ["red"]])
