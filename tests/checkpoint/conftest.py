"""A module with the parameters of the hard cases, and the cases themselves."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

TESTS = Path(__file__).resolve().parents[1]


class Target(nn.Module):
    """``backbone.conv`` and ``head.fc``."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Module(), nn.Module()
        self.backbone.conv = nn.Conv2d(3, 4, 3)
        self.head.fc = nn.Linear(4, 5)


@pytest.fixture
def target():
    return Target()


@pytest.fixture(scope="session")
def cases():
    """Folder of the hard cases and what is expected of each."""
    folder = TESTS / "data" / "cases"
    return folder, json.loads((folder / "config_checkpoint_expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def is_filled():
    """Function: does the parameter hold k/100 at place k?"""

    def check(parameter):
        expected = torch.arange(parameter.numel(), dtype=torch.float32).view_as(parameter) / 100
        return torch.allclose(parameter, expected)

    return check
