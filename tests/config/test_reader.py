"""YAML files: chains, and text that is no YAML."""

import pytest
from detectron2.config import CfgNode

from dense.config.loading import load_config
from dense.config.reader import read_yaml_chain, shipped_config
from dense.errors import ConfigError


def test_read_yaml_chain__three_files__the_nearest_wins(yaml_file):
    """Catches a base that overrides its heir, and lower keys lost when a node is given twice."""
    yaml_file("A: {x: 1, y: 1, z: 1}\nL: [1, 2]\n", "far/c.yaml")
    yaml_file("_BASE_: ../far/c.yaml\nA: {y: 2, z: 2}\n", "mid/b.yaml")
    path = yaml_file("_BASE_: mid/b.yaml\nA: {z: 3}\nL: [3]\n")
    assert read_yaml_chain(path) == {"A": {"x": 1, "y": 2, "z": 3}, "L": [3]}


def test_read_yaml_chain__absolute_and_home__are_found(yaml_file, tmp_path, monkeypatch):
    """Catches an absolute _BASE_ glued to the folder, and ~ taken for a folder's name."""
    base = yaml_file("A: 1\n", "home/base.yaml")
    assert read_yaml_chain(yaml_file(f"_BASE_: {base}\n", "one.yaml")) == {"A": 1}
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert read_yaml_chain(yaml_file("_BASE_: ~/base.yaml\n", "two.yaml")) == {"A": 1}


def test_read_yaml_chain__itself__is_a_loop(yaml_file):
    """Catches endless recursion on the shortest loop."""
    with pytest.raises(ConfigError, match=r"loop \(config.yaml → config.yaml\)"):
        read_yaml_chain(yaml_file("_BASE_: config.yaml\n"))


def test_read_yaml_chain__same_base_by_two_ways__is_no_loop(yaml_file):
    """Catches a loop seen where the base of a base is given once more by its real name."""
    yaml_file("A: 1\n", "c.yaml")
    yaml_file("_BASE_: c.yaml\n", "b.yaml")
    assert read_yaml_chain(yaml_file("_BASE_: ./b.yaml\n")) == {"A": 1}


def test_read_yaml_chain__list_of_bases__the_later_wins(yaml_file):
    """Catches a list refused (Detectron2 reads it), merged backwards, or with a base's own base merged over its neighbour."""
    yaml_file("A: {x: 0, y: 0, z: 0, w: 0}\n", "root.yaml")
    yaml_file("_BASE_: root.yaml\nA: {x: 1, y: 1}\n", "one.yaml")
    yaml_file("A: {y: 2, z: 2}\n", "more/two.yaml")
    path = yaml_file("_BASE_: [one.yaml, more/two.yaml]\nA: {z: 3}\n")
    assert read_yaml_chain(path) == {"A": {"x": 1, "y": 2, "z": 3, "w": 0}} == CfgNode.load_yaml_with_base(str(path))
    assert read_yaml_chain(yaml_file("_BASE_: []\nA: 1\n", "none.yaml")) == {"A": 1}
    with pytest.raises(ConfigError, match=r"loop \(loop.yaml → loop.yaml\)"):
        read_yaml_chain(yaml_file("_BASE_: [one.yaml, loop.yaml]\n", "loop.yaml"))


@pytest.mark.parametrize("bases", ["[{0}, {0}]", "{0}"])
def test_read_yaml_chain__bases_without_end__refused_at_once(yaml_file, frugal, bases):
    """Catches lists of bases that double at each file (2^300 reads), and a recursion too deep for Python."""
    for n in range(300):
        yaml_file(f"_BASE_: {bases.format(f'{n + 1}.yaml')}\n", f"{n}.yaml")
    yaml_file("A: 1\n", "300.yaml")
    with frugal(50, seconds=3), pytest.raises(ConfigError, match=r"0\.yaml: stands on more than 100 files"):
        read_yaml_chain(yaml_file("_BASE_: 0.yaml\n", "start0.yaml"))


def test_shipped_config__name_from_another_folder__ours_unless_the_user_has_one(tmp_path, monkeypatch):
    """Catches shipped files that are found only in the checkout's folder, and a user's own file passed over."""
    monkeypatch.chdir(tmp_path)
    name = "configs/dvis/ytvis19/minvis_r50.yaml"
    assert read_yaml_chain(name)["MODEL"]["META_ARCHITECTURE"] == "VideoSegmenter"
    own = tmp_path / name
    own.parent.mkdir(parents=True)
    own.write_text("A: 1\n")
    assert read_yaml_chain(name) == {"A": 1}
    for other in ("configs/nothing.yaml", "pyproject.toml", "weights/world_ctvis_lite0.json"):
        assert str(shipped_config(other)) == other
        with pytest.raises(ConfigError, match="cannot be read"):
            read_yaml_chain(other)


def test_read_yaml_chain__empty__is_empty(yaml_file):
    """Catches None where a mapping is expected."""
    assert read_yaml_chain(yaml_file("")) == {}
    assert read_yaml_chain(yaml_file("# nothing\n")) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", "holds a list"),
        ("just text", "holds a str"),
        ("A: [1, 2\n", "line 2"),
        ("A: b: c\n", "line 1"),
        ("A:\n\t- 1\n", "line 2"),
        ("A: \x01\n", "not valid YAML"),
        ("A: 2020-13-45\n", "not valid YAML"),
        ("A: !!python/name:os.system\n", "refused"),
        ("A: !!python/object/new:os.mkdir [PWNED_NEW]\n", "refused"),
        ("A: !mine 5\n", "refused"),
        ("A: &a [*a]\nB: *missing\n", "not valid YAML"),
        ("_BASE_: 5\n", "_BASE_ is 5"),
        ("_BASE_: [[a.yaml]]\n", "_BASE_ is ['a.yaml']"),
        ("_BASE_: {a: b}\n", "_BASE_ is {'a': 'b'}"),
        ("[" * 5000, "config.yaml"),
    ],
)
def test_read_yaml_chain__broken_text__one_line_with_the_place(yaml_file, tmp_path, monkeypatch, text, words):
    """Catches foreign YAML errors and tags that run code."""
    monkeypatch.chdir(tmp_path)
    path = yaml_file(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml_chain(path)
    assert words in str(caught.value)
    assert "config.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


def test_read_yaml_chain__no_file__names_it(tmp_path):
    """Catches FileNotFoundError, a folder given as file, and bytes that are no text."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        read_yaml_chain(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml_chain(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"A: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(byte 6\)"):
        read_yaml_chain(tmp_path / "latin.yaml")


_BOMBS = {
    "mappings": "X0: &x0 {a: 1}\n" + "".join(f"X{n}: &x{n} {{a: *x{n - 1}, b: *x{n - 1}}}\n" for n in range(1, 60)),
    "lists": "X0: &x0 [1]\n" + "".join(f"X{n}: &x{n} [*x{n - 1}, *x{n - 1}]\n" for n in range(1, 60)),
    "merged": "X0: &x0 {a: 1}\n" + "".join(f"X{n}: &x{n} {{<<: [*x{n - 1}, *x{n - 1}]}}\n" for n in range(1, 60)),
    "itself": "MODEL: &m\n  WEIGHTS: *m\n",
    "list of itself": "MODEL: &m [*m]\n",
    "size": "A: " + "x" * (1 << 20) + "\n",
    "digits": "A: 0x" + "f" * 100_000 + "\n",
}


@pytest.mark.parametrize("name", _BOMBS)
def test_load_config__bomb__one_short_error_with_little_memory(yaml_file, frugal, name):
    """Catches aliases that double at each line (billion laughs), values that hold themselves, and huge ones."""
    path = yaml_file(_BOMBS[name])
    load_config()  # imports the projects
    with frugal(100), pytest.raises(ConfigError, match=r"config\.yaml") as caught:
        load_config(path)
    assert len(str(caught.value)) < 400


def test_read_yaml_chain__few_aliases__are_followed(yaml_file):
    """Catches a limit that forbids the ordinary use of anchors."""
    assert read_yaml_chain(yaml_file("A: &a {x: 1}\nB: *a\nC: {<<: *a, y: 2}\n")) == {
        "A": {"x": 1},
        "B": {"x": 1},
        "C": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize(
    "text",
    [
        '_BASE_: "a\\0b.yaml"\n',
        "_BASE_: ~nobody-of-this-name/x.yaml\n",
        "_BASE_: /dev/zero\n",
        "A: 2020-01-01T00:00:00+99:00\n",
        "A: !!omap [1]\n",
        "A: !!int x\n",
        "A: !!binary 'a b c'\n",
        "? [a, b]\n: 1\n? {c: d}\n: 2\n",
    ],
)
def test_read_yaml_chain__odd_values__one_error_that_names_the_file(yaml_file, frugal, text):
    """Catches ValueError of odd dates, RuntimeError of unknown homes, and a device without end read as a file."""
    path = yaml_file(text)
    with frugal(50), pytest.raises(ConfigError) as caught:
        read_yaml_chain(path)
    assert "config.yaml" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["SOLVER: {BASE_LR: .nan}", "SOLVER: {BASE_LR: 1" + "0" * 400 + "}", "SOLVER: {MAX_ITER: 1.0e+40}", "SEED: 1" + "0" * 30],
)
def test_load_config__number_that_means_nothing__error(yaml_file, text):
    """Catches NaN for a learning rate, which trains nothing and says nothing, and OverflowError for huge integers."""
    with pytest.raises(ConfigError, match=r"config\.yaml: S\w+"):
        load_config(yaml_file(text + "\n"))
