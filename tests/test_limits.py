"""Limits and the environment variables that raise them."""

import pytest

from dense import limits
from dense.errors import ConfigError


def test_max_pixels__environment__raised_or_default(monkeypatch):
    """Catches a variable that is not read, or only at import."""
    monkeypatch.delenv("DENSE_MAX_MEGAPIXELS", raising=False)
    assert limits.max_pixels() == 100_000_000
    monkeypatch.setenv("DENSE_MAX_MEGAPIXELS", "0.5")
    assert limits.max_pixels() == 500_000


def test_max_unpacked_bytes__file_size__twice_or_the_least(monkeypatch):
    """Catches a limit that forbids large checkpoints."""
    monkeypatch.delenv("DENSE_MAX_UNPACKED_GB", raising=False)
    assert limits.max_unpacked_bytes(10) == 10**9
    assert limits.max_unpacked_bytes(10**10) == 2 * 10**10


@pytest.mark.parametrize("value", ["x", "0", "-1", "nan", "inf", "1e99"])
def test_max_pixels__wrong_value__error_names_the_variable(monkeypatch, value):
    """Catches a typo that switches the limit off."""
    monkeypatch.setenv("DENSE_MAX_MEGAPIXELS", value)
    with pytest.raises(ConfigError, match="DENSE_MAX_MEGAPIXELS"):
        limits.max_pixels()
