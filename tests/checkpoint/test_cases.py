"""Checkpoints from public bug reports, each with its right report or kind of error."""

import logging

import pytest

from dense import load_checkpoint
from dense.errors import CheckpointError

VALUES = ["ckpt-pkl", "ckpt-prefix-module", "ckpt-prefix-model", "ckpt-wrong-shape", "ckpt-missing-keys", "ckpt-legacy-format"]
ERRORS = [
    ("ckpt-pkl-malicious", "evil.pkl"),
    ("ckpt-st-truncated", "cut.safetensors"),
    ("ckpt-not-a-checkpoint", "page.pth"),
    ("ckpt-not-a-checkpoint", "pointer.pth"),
    ("ckpt-not-a-checkpoint", "empty.pth"),
]


@pytest.mark.parametrize("name", VALUES)
def test_load_checkpoint__hard_case__right_report(cases, target, is_filled, name, caplog):
    """Catches prefixes that make nothing fit, values in the wrong place, and keys left out without a word."""
    folder, expected = cases
    case = expected[name]
    before = {k: v.clone() for k, v in target.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        report = load_checkpoint(target, folder / name / case["inputs"]["checkpoint"])
    facts = case["expect"]["facts"]
    assert sorted(report.loaded) == facts["loaded"]
    assert sorted(report.missing) == facts.get("missing", [])
    assert sorted(report.unused) == facts.get("unexpected", [])
    assert sorted(k for k, _, _ in report.mismatched) == facts.get("shape_skipped", [])
    for key, value in target.state_dict().items():
        assert is_filled(value) if key in report.loaded else value.equal(before[key]), key
    if case["expect"]["kind"] == "value_with_warning":
        (message,) = [r.getMessage() for r in caplog.records]
        for word in case["expect"]["must_name"]:
            assert word in message
    else:
        assert not caplog.records


def test_load_checkpoint__nothing_fits__raises_with_the_counts(cases, target):
    """Catches a run that goes on with random weights: 0 of 4 fit."""
    folder, expected = cases
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(target, folder / "ckpt-nothing-fits" / "other.safetensors")
    for word in expected["ckpt-nothing-fits"]["expect"]["alternatives"][0]["must_name"]:
        assert word in str(caught.value)


@pytest.mark.parametrize(("name", "file"), ERRORS)
def test_load_checkpoint__hard_case__one_error_nothing_run(cases, target, name, file, tmp_path, monkeypatch):
    """Catches code that runs, foreign tracebacks about one letter, and a model left half filled."""
    folder, _ = cases
    before = {k: v.clone() for k, v in target.state_dict().items()}
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(target, folder / name / file)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert all(v.equal(before[k]) for k, v in target.state_dict().items())


@pytest.mark.parametrize(
    ("file", "word"), [("page.pth", "web page"), ("pointer.pth", "Git LFS pointer"), ("empty.pth", "empty")]
)
def test_load_checkpoint__not_a_checkpoint__says_what_it_is(cases, target, file, word):
    """Catches an advice that does not help: each kind has its own cure."""
    folder, _ = cases
    with pytest.raises(CheckpointError, match=word):
        load_checkpoint(target, folder / "ckpt-not-a-checkpoint" / file)


def test_load_checkpoint__malicious_pickle__says_refused(cases, target):
    """Catches a message that hides why the file was not read."""
    with pytest.raises(CheckpointError, match="refused"):
        load_checkpoint(target, cases[0] / "ckpt-pkl-malicious" / "evil.pkl")
