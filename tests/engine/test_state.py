"""Checkpoints of a run after all kinds of accidents; averaged weights; seeds."""

import logging

import pytest
import torch
from torch import nn

from dense.engine.state import AveragedWeights, Checkpoints, step_seed
from dense.errors import CheckpointError


class Part:
    """Anything with a state."""

    def __init__(self, value=0):
        self.value = value

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


@pytest.fixture
def run(tmp_path):
    """Checkpoints of steps 5, 10 and 15."""
    checkpoints = Checkpoints(tmp_path)
    for step in (5, 10, 15):
        checkpoints.save(step, {"part": {"value": step}})
    return checkpoints


def resumed(checkpoints):
    part = Part()
    found = checkpoints.load_last({"part": part})
    return None if found is None else (found[0].name, found[1], part.value)


def test_load_last__whole__the_pointers_file(run):
    """Catches the newest taken where the pointer names another (somebody may have set it back)."""
    assert resumed(run) == ("model_0000015.pth", 15, 15)
    (run.folder / "last_checkpoint").write_text("model_0000010.pth\n")
    assert resumed(run) == ("model_0000010.pth", 10, 10)
    assert run.last().name == "model_0000010.pth"


@pytest.mark.parametrize("content", [b"", b"   \n", b"model_00000", b"model_0000099.pth", b"\xff\xfe\x00", b"../elsewhere.pth"])
def test_load_last__pointer_broken__newest_with_a_warning(run, caplog, content):
    """Catches a run that starts from scratch in silence because the pointer was half written."""
    (run.folder / "last_checkpoint").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert resumed(run) == ("model_0000015.pth", 15, 15)
    assert any("last_checkpoint" in r.getMessage() for r in caplog.records)


def test_load_last__no_pointer__newest(run):
    """Catches a lost pointer taken for an empty folder."""
    (run.folder / "last_checkpoint").unlink()
    assert resumed(run) == ("model_0000015.pth", 15, 15)


@pytest.mark.parametrize("kept", [0, 7, 300])
def test_load_last__newest_truncated__the_one_before(run, caplog, kept):
    """Catches a crash on a file that a full disk or a power cut left incomplete."""
    for step in (15, 10):
        path = run.folder / f"model_{step:07d}.pth"
        path.write_bytes(path.read_bytes()[:kept])
    with caplog.at_level(logging.WARNING):
        assert resumed(run) == ("model_0000005.pth", 5, 5)
    assert [r.getMessage().count("trying the one before") for r in caplog.records] == [1, 1]


def test_load_last__all_damaged__raises(run):
    """Catches a run that starts from scratch in silence although there was one."""
    for path in run.folder.glob("*.pth"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="none of its 3 checkpoints can be read"):
        resumed(run)


def test_load_last__nothing__is_none(tmp_path):
    """Catches an error for a folder that is empty or not there; other files are not taken for checkpoints."""
    assert resumed(Checkpoints(tmp_path / "new")) is None
    (tmp_path / "model_final.pth").write_bytes(b"x")
    (tmp_path / ".model_0000001.pth.abc.tmp").write_bytes(b"x")
    assert resumed(Checkpoints(tmp_path)) is None
    assert Checkpoints(tmp_path).last() is None


def test_remove_leftovers__killed_run__only_its_temporary_files_go(run):
    """Catches a disk filled by half checkpoints of killed runs, and a file deleted that is not ours."""
    ours = [".model_0000020.pth.ab3d_x9z.tmp", ".last_checkpoint.abcdefgh.tmp", ".config.yaml.abcdefgh.tmp"]
    ours += [".model_final.safetensors.abcdefgh.tmp", ".last_evaluation.abcdefgh.tmp", "inference/.results.json.abcdefgh.tmp"]
    others = [".notes.txt.abcdefgh.tmp", "model_0000005.pth.tmp", "notes.tmp"]
    (run.folder / "inference").mkdir()
    for name in (*ours, *others):
        (run.folder / name).write_bytes(b"half")
    run.remove_leftovers()
    assert not [name for name in ours if (run.folder / name).exists()]
    assert all((run.folder / name).exists() for name in others)
    assert resumed(run) == ("model_0000015.pth", 15, 15)
    Checkpoints(run.folder / "new").remove_leftovers()  # a folder that is not there yet


@pytest.mark.parametrize(
    ("content", "expected"), [(b"15", True), (b"15\n", True), (b"5", False), (b"", False), (b"\xff", False)]
)
def test_is_evaluated__marker__only_its_own_step(run, content, expected):
    """Catches an evaluation skipped because of another step's marker, or a crash on a damaged one."""
    assert not run.is_evaluated(15)
    (run.folder / "last_evaluation").write_bytes(content)
    assert run.is_evaluated(15) is expected
    run.mark_evaluated(15)
    assert run.is_evaluated(15)


def test_load__detectron2_checkpoint__says_what_is_missing(cases_folder):
    """Catches a KeyError; case ckpt-last-empty: empty pointer, a file with weights but no optimizer."""
    checkpoints = Checkpoints(cases_folder / "ckpt-last-empty")
    assert checkpoints.last().name == "model_0000009.pth"
    with pytest.raises(CheckpointError, match=r"step, optimizer missing.*MODEL\.WEIGHTS.*last_checkpoint"):
        checkpoints.load_last({"model": Part(), "optimizer": Part()})


def test_load__state_of_another_kind__raises_ours(run):
    """Catches foreign errors from parts that meet a state they do not know."""
    for state in ({}, [], 5):
        path = run.save(20, {"part": state})
        with pytest.raises(CheckpointError, match="its part does not fit"):
            run.load(path, {"part": Part()})


def test_save__killed_before_the_pointer__new_file_is_found(run, monkeypatch):
    """Catches a pointer written before its file."""
    import dense.engine.state as module

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "atomic_write", killed)
    with pytest.raises(KeyboardInterrupt):
        run.save(20, {"part": {"value": 20}})
    assert resumed(run) == ("model_0000015.pth", 15, 15)  # the pointer still names a whole file
    monkeypatch.undo()
    (run.folder / "last_checkpoint").unlink()
    assert resumed(run) == ("model_0000020.pth", 20, 20)


def test_averaged_weights__constant_decay__is_the_moving_average():
    """Catches a decay applied the wrong way round; early steps move faster."""
    model = nn.BatchNorm1d(1)
    averaged, expected = AveragedWeights(model, 0.9), 1.0
    for step in range(40):
        model.weight.data.fill_(float(step))
        averaged.update(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert averaged.values["weight"].item() == pytest.approx(expected, rel=1e-5)
    assert "num_batches_tracked" not in averaged.values


def test_averaged_weights__other_keys__raise():
    """Catches averages of another model taken over in part."""
    averaged = AveragedWeights(nn.Linear(2, 2), 0.9)
    with pytest.raises(ValueError, match="other keys"):
        averaged.load_state_dict({"weight": torch.zeros(2, 2)})


def test_step_seed__steps_and_ranks__differ():
    """Catches two steps or processes that draw the same points."""
    seeds = {step_seed(seed, step, rank) for seed in (0, 1, 42) for step in range(300) for rank in range(8)}
    assert len(seeds) == 3 * 300 * 8
    assert step_seed(-1, 5, 0) == step_seed(0, 5, 0)
    assert all(0 <= step_seed(10**12, s, 0) < 2**63 for s in (0, 10**9))


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state["optimizer"]["state"][0].pop("exp_avg_sq"),
        lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.zeros(1).expand(3, 2)),
        lambda state: state["optimizer"]["state"][0].update(exp_avg="text"),
        lambda state: state["optimizer"]["param_groups"][0].update(lr="0.1"),
        lambda state: state["optimizer"]["param_groups"][0].update(lr=float("nan")),
        lambda state: state["optimizer"]["param_groups"][0].update(betas=(1.0, 0.999)),
        lambda state: state["optimizer"]["state"][0].update(step=torch.tensor(-1.0)),
        lambda state: state.update(step=-1),
        lambda state: state.update(step="7"),
        lambda state: state.update(step=10**30),
        lambda state: state.update(optimizer=7),
    ],
)
def test_load_last__state_that_cannot_be_continued__one_error(tmp_path, damage):
    """Catches a run that starts again with half an optimizer and stumbles, or computes nonsense, at its first step."""
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    parts = {"model": model, "optimizer": optimizer}
    state = {name: part.state_dict() for name, part in parts.items()}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state)
    assert checkpoints.load_last(parts) == (tmp_path / "model_0000001.pth", 1)
    state = {**torch.load(tmp_path / "model_0000001.pth", weights_only=True)}
    damage(state)
    torch.save(state, tmp_path / "model_0000001.pth")
    with pytest.raises(CheckpointError, match=r"model_0000001\.pth"):
        checkpoints.load_last(parts)
