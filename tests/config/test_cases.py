"""Configuration files from public bug reports, each with its right value or kind of error."""

import pytest

from dense import load_config
from dense.data.datasets import resolve_dataset
from dense.errors import ConfigError, DenseError

VALUES = ["cfg-float-without-dot", "cfg-base-chain", "cfg-bom-crlf"]
ERRORS = ["cfg-misspelt", "cfg-wrong-type", "cfg-base-loop", "cfg-base-missing", "cfg-unsafe-tag", "cfg-override-odd"]


def lookup(cfg, dotted):
    for part in dotted.split("."):
        cfg = cfg[part]
    return cfg


@pytest.mark.parametrize("name", VALUES)
def test_load_config__hard_case__right_value(cases, name):
    """Catches 1e-4 read as text, a _BASE_ relative to the working directory, a byte-order mark in the first key."""
    folder, expected = cases
    case = expected[name]
    cfg = load_config(folder / name / case["inputs"]["config"])
    assert case["expect"]["facts"]
    for key, value in case["expect"]["facts"].items():
        assert lookup(cfg, key) == value
        assert type(lookup(cfg, key)) is type(value)


@pytest.mark.parametrize("name", ERRORS)
def test_load_config__hard_case__one_clear_error(cases, name, tmp_path, monkeypatch):
    """Catches foreign tracebacks, recursion, and a file that runs code: nothing may appear in the working directory."""
    folder, expected = cases
    case = expected[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_config(folder / name / case["inputs"]["config"], case["inputs"].get("options", []))
    for word in case["expect"]["must_name"]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_load_config__unknown_data_set__nearest_name_when_it_is_used(cases):
    """Catches a KeyError with two hundred names; names are looked up when the data is opened, since own files are allowed."""
    folder, expected = cases
    cfg = load_config(folder / "cfg-unknown-dataset" / "config.yaml")
    with pytest.raises(DenseError) as caught:
        resolve_dataset(cfg.DATASETS.TRAIN[0])
    for word in expected["cfg-unknown-dataset"]["expect"]["must_name"]:
        assert word in str(caught.value)
