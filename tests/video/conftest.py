"""Hard inputs with their right answers (tests/data/cases), and the frame number that is drawn into them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CASES = Path(__file__).resolve().parents[1] / "data" / "cases"


@dataclass(frozen=True)
class Case:
    """Folder of a case and what must come out of it."""

    folder: Path
    inputs: dict[str, Any]
    expect: dict[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        return self.expect["facts"]

    @property
    def path(self) -> Path:
        (name,) = (value for value in self.inputs.values() if isinstance(value, str))
        return self.folder / name


@pytest.fixture(scope="session")
def case() -> Callable[[str], Case]:
    """Function from a case's name to the case."""
    table = json.loads((CASES / "video_expected.json").read_text())

    def find(name: str) -> Case:
        return Case(CASES / name, table[name]["inputs"], table[name]["expect"])

    return find


@pytest.fixture(scope="session")
def drawn_number() -> Callable[[np.ndarray], int]:
    """Function that reads the number drawn into a case's frame: blocks of 8 pixels at the top, lowest bit at the left."""

    def read(image: np.ndarray) -> int:
        bits = [image[2:6, 8 * bit + 2 : 8 * bit + 6].mean() > 127 for bit in range(6)]
        return sum(1 << bit for bit, is_set in enumerate(bits) if is_set)

    return read


@pytest.fixture(scope="session")
def corner_of_red() -> Callable[[np.ndarray], str]:
    """Function that names the corner with the most red."""

    def find(image: np.ndarray) -> str:
        height, width = (side // 2 for side in image.shape[:2])
        red = image[:, :, 0].astype(int) - image[:, :, 1]
        corners = {
            "top-left": red[:height, :width],
            "top-right": red[:height, -width:],
            "bottom-left": red[-height:, :width],
            "bottom-right": red[-height:, -width:],
        }
        return max(corners, key=lambda name: corners[name].mean())

    return find
