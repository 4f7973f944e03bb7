"""Small YAML files, and the hard cases with their right values."""

import json
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root():
    """The repository."""
    return TESTS.parent


@pytest.fixture(scope="session")
def cases():
    """Folder of the hard cases and what is expected of each."""
    folder = TESTS / "data" / "cases"
    return folder, json.loads((folder / "config_checkpoint_expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def yaml_file(tmp_path):
    """Function that writes a YAML file and returns its path."""

    def write(text, name="config.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write
