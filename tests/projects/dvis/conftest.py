"""MinVIS at its official size, built once."""

import json
from pathlib import Path

import pytest

from dense import build_model, load_checkpoint, load_config

TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root():
    """The repository."""
    return TESTS.parent


@pytest.fixture(scope="session")
def manifest():
    """Official state-dict keys and shapes of MinVIS with ResNet-50 on YouTube-VIS 2019."""
    return json.loads((TESTS / "golden" / "manifests" / "MinVIS_R50_ytvis19.json").read_text())


@pytest.fixture(scope="session")
def official_config():
    """Function from overrides to the configuration in the official style."""
    file = TESTS / "data" / "configs" / "MinVIS_R50.yaml"
    return lambda *options: load_config(file, ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", *options])


@pytest.fixture(scope="session")
def minvis(official_config, manifest, parity):
    """The model with filled weights, in evaluation mode."""
    model = build_model(official_config()).eval()
    load_checkpoint(model, parity.state_dict(manifest), strict=True)
    return model
