"""``python -m dense.config``: resolved values with their origins, and differences."""

import subprocess
import sys

import pytest
import yaml

from dense import load_config
from dense.config.__main__ import main
from dense.config.loading import default_config
from dense.config.origins import find_origins, flatten
from dense.errors import ConfigError


@pytest.fixture
def chain(yaml_file):
    """A file, its base, and what stands on which line."""
    yaml_file("# head\nSOLVER:\n  MAX_ITER: 7\n  BASE_LR: 1e-4\nMODEL:\n  META_ARCHITECTURE: MinVIS\n", "base/base.yaml")
    return yaml_file('_BASE_: base/base.yaml\nSOLVER: {MAX_ITER: 9, STEPS: "(1, 2)"}\nDATASETS:\n  TRAIN: ["ä b"]\n', "x.yaml")


def test_find_origins__chain__nearest_file_and_line(chain):
    """Catches the base named where the heir decides, lines counted from 0, and overrides hidden by files."""
    origins = find_origins(chain, ["SOLVER.BASE_LR", "1"])
    base = chain.parent / "base" / "base.yaml"
    assert origins == {
        "SOLVER.MAX_ITER": f"{chain}:2",
        "SOLVER.STEPS": f"{chain}:2",
        "SOLVER.BASE_LR": "command line",
        "MODEL.META_ARCHITECTURE": f"{base}:6",
        "MODEL.MASK_FORMER.TEST.MAX_NUM": "official code",
        "DATASETS.TRAIN": f"{chain}:4",
    }


@pytest.mark.parametrize("flags", [[], ["--changed"]])
def test_show__output__loads_back_to_the_same(chain, yaml_file, capsys, flags):
    """Catches values written so that YAML reads something else (1e-4, tuples, None, text with signs), or left out."""
    pairs = ["OUTPUT_DIR", "a: #b", "MODEL.DEVICE", "cpu", "SOLVER.GAMMA", "1e-30", "SOLVER.POLY_LR_POWER", "1e999"]
    assert main(["show", str(chain), *flags, *pairs]) == 0
    text = capsys.readouterr().out
    assert load_config(yaml_file(text, "again.yaml"), ["MODEL.MASK_FORMER.TEST.MAX_NUM", "10"]) == load_config(chain, pairs)
    lines = {line.split(":")[0].strip(): line.partition("  # ")[2] for line in text.splitlines()}
    assert lines["MAX_ITER"] == f"{chain}:2"
    assert lines["GAMMA"] == "command line"
    assert lines["MAX_NUM"] == "official code"
    assert ("WEIGHT_DECAY" in lines) == (not flags)
    if not flags:
        assert lines["WEIGHT_DECAY"] == "default"
        assert lines["ENC_LAYERS"] == "default, no effect"
        assert len(dict(flatten(yaml.safe_load(text)))) == len(dict(flatten(default_config())))


def test_show__changed_back_to_the_default__is_not_shown(yaml_file, capsys):
    """Catches a list of what files mention instead of what differs: a tuple written as a list is the same."""
    steps = list(default_config().SOLVER.STEPS)
    assert main(["show", str(yaml_file(f"SOLVER:\n  STEPS: {steps}\n  MAX_ITER: 3\n")), "--changed"]) == 0
    out = capsys.readouterr().out
    assert "MAX_ITER: 3" in out
    assert "STEPS" not in out


def test_diff__files__only_what_differs(yaml_file, capsys):
    """Catches differences in spelling taken for differences in value, and a wrong exit code."""
    a = yaml_file("SOLVER: {BASE_LR: 1e-4, STEPS: [1, 2]}\n", "a.yaml")
    b = yaml_file('SOLVER:\n  STEPS: "(1, 2)"\n  BASE_LR: 0.0001\n  WARMUP_ITERS: 1000\n', "b.yaml")
    c = yaml_file("_BASE_: a.yaml\nSOLVER: {STEPS: [1, 3]}\nMODEL: {MASK_ON: true}\n", "c.yaml")
    assert main(["diff", str(a), str(b)]) == 0
    assert capsys.readouterr().out == ""
    assert main(["diff", str(a), str(c)]) == 1
    assert sorted(capsys.readouterr().out.splitlines()) == ["MODEL.MASK_ON: false -> true", "SOLVER.STEPS: [1, 2] -> [1, 3]"]


def test_main__wrong_usage__code_2(capsys):
    """Catches a traceback, or success, for a command that does not exist."""
    assert main([]) == 2
    assert main(["list"]) == 2
    assert "expected show or diff" in capsys.readouterr().err
    assert main(["--help"]) == 0
    with pytest.raises(SystemExit) as stop:
        main(["diff", "a.yaml"])
    assert stop.value.code == 2


def test_main__unreadable_file__our_error(tmp_path):
    """Catches foreign errors on files that are not there."""
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        main(["show", str(tmp_path / "none.yaml")])


def test_module__wrong_file__one_line_and_code_1(root, tmp_path):
    """Catches frames of an error on the screen when run as a module."""
    command = [sys.executable, "-W", "ignore", "-m", "dense.config", "diff", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 1
    assert "a.yaml: cannot be read" in done.stderr
    assert len(done.stderr.splitlines()) == 1
