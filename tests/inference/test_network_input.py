"""How a picture becomes the network's input: sizes and channel order from a configuration."""

import numpy as np
import pytest

from dense import load_config
from dense.errors import ConfigError
from dense.inference.network_input import NetworkInput


def test_tensor__bgr__channels_reversed_pixels_in_place():
    """Catches red and blue exchanged for the wrong models, and rows taken for columns."""
    image = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    plain, reversed_ = NetworkInput().tensor(image), NetworkInput(bgr=True).tensor(image)
    assert plain.shape == (3, 2, 4)
    assert plain[2, 1, 3] == image[1, 3, 2]
    assert reversed_.flip(0).equal(plain)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("FORMAT", "BRG", "INPUT.FORMAT: unknown 'BRG'.*Expected RGB or BGR"),
        ("MIN_SIZE_TEST", -1, "MIN_SIZE_TEST: -1, expected 0 or more"),
        ("MAX_SIZE_TEST", 0, "MAX_SIZE_TEST: 0, expected 1 or more"),
    ],
)
def test_from_config__impossible_value__names_the_key(key, value, words):
    """Catches a channel order misspelt and taken for RGB: worse results in silence."""
    with pytest.raises(ConfigError, match=words):
        NetworkInput.from_config(load_config(None, [f"INPUT.{key}", value]).INPUT)
