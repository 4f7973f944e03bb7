"""Own registries: names, nearest names, projects."""

import pytest

from dense.errors import ConfigError
from dense.registry import Registry, load_projects, nearest


class Decoder:
    """An entry."""


def test_registry__register_and_get__same_object():
    """Catches a decorator that returns something else than the class."""
    registry = Registry("decoder")
    assert registry.register(Decoder) is Decoder
    assert registry.register(Decoder) is Decoder  # a module read twice
    assert registry.get("Decoder") is Decoder
    assert "Decoder" in registry
    assert "Other" not in registry
    assert list(registry) == ["Decoder"]


def test_registry__unknown__suggests_the_nearest():
    """Catches a KeyError without help."""
    registry = Registry("decoder")
    registry.register(Decoder)
    with pytest.raises(ConfigError, match=r"unknown decoder 'Decodr'\. Did you mean 'Decoder'"):
        registry.get("Decodr")
    with pytest.raises(ConfigError, match="Known: Decoder"):
        registry.get("zzz")
    with pytest.raises(ConfigError, match=r"unknown tracker 'x'\.$"):
        Registry("tracker").get("x")


def test_registry__name_taken_twice__raises():
    """Catches one part replacing another in silence."""
    registry = Registry("decoder")
    registry.register(Decoder)
    with pytest.raises(ConfigError, match="registered twice"):
        registry.register(type("Decoder", (), {}))


def test_nearest__many_names__shows_a_dozen():
    """Catches a message of two hundred names."""
    text = nearest("zzz", [f"name{i:03d}" for i in range(200)])
    assert text.count("name") == 12


def test_load_projects__every_project__adds_its_keys():
    """Catches a project without ``add_config``, which load_config calls."""
    projects = load_projects()
    assert "dense.projects.dvis" in [p.__name__ for p in projects]
    assert all(callable(p.add_config) for p in projects)
