"""A stopped and continued training of the refiner gives the numbers of an unbroken one: it remembers earlier clips."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from dense import build_model, load_config
from dense.engine.launch import Process
from dense.engine.state import Checkpoints, ProcessMemories
from dense.engine.trainer import Trainer
from dense.errors import CheckpointError


@pytest.fixture
def trainer(root, tmp_path):
    """Function from a folder's name to a trainer of a small offline model."""

    def make(folder="run", process=None):
        options = ["MODEL.META_ARCHITECTURE", "OfflineVideoSegmenter", "MODEL.MASK_FORMER.REID_BRANCH", False]
        options += ["MODEL.TRACKER.DECODER_LAYERS", 1, "MODEL.REFINER.DECODER_LAYERS", 1, "INPUT.SAMPLING_FRAME_NUM", 3]
        options += ["SOLVER.IMS_PER_BATCH", 1, "SOLVER.MAX_ITER", 6, "MODEL.REFINER.USE_CL", True]
        cfg = load_config(root / "tests/data/configs/tiny.yaml", options)
        torch.manual_seed(0)
        return Trainer(cfg, build_model(cfg), process or Process(), Checkpoints(tmp_path / folder), [])

    return make


def clip(step):
    """A clip of three frames with nine objects of three classes: more embeddings than a class may keep, after two clips."""
    draw = torch.Generator().manual_seed(100 + step)
    labels = torch.arange(9) % 3
    frames = [
        SimpleNamespace(ids=torch.arange(9), labels=labels, masks=torch.rand(9, 40, 52, generator=draw) < 0.5) for _ in range(3)
    ]
    images = [torch.randint(0, 256, (3, 40, 52), generator=draw, dtype=torch.uint8) for _ in range(3)]
    return {"image": images, "instances": frames, "file_names": [f"{step}.jpg"]}


def run(trainer, last):
    """Losses of the steps to ``last``."""
    losses = []
    while trainer.step < last:
        losses.append(trainer.run_step([clip(trainer.step)]))
        trainer.step += 1
    return losses


@pytest.mark.parametrize("stop", [1, 4])
def test_training__stopped_and_continued__same_numbers_to_the_bit(trainer, stop):
    """Catches a class memory that is empty, or in another order, after a stop; without it the losses do differ."""
    expected = run(trainer("whole"), 6)
    first = trainer()
    assert run(first, stop) == expected[:stop]
    first.save()
    torch.manual_seed(99)
    second = trainer()
    assert second.resume()
    assert run(second, 6) == expected[stop:]
    forgetful = trainer()
    assert forgetful.resume()
    forgetful.model.contrast.memory.stored.clear()
    assert run(forgetful, 6) != expected[stop:]


def test_checkpoint__model__has_the_official_names_only(trainer):
    """Catches a memory among the weights: released files would not fit."""
    one = trainer()
    run(one, 1)
    assert {name.partition(".")[0] for name in one.model.state_dict()} == {
        "backbone",
        "sem_seg_head",
        "tracker",
        "refiner",
        "criterion",
    }
    assert all(len(rows) <= 20 for rows in one.model.training_state().values())
    assert all(rows.untyped_storage().nbytes() == rows.nbytes for rows in one.model.training_state().values())


@dataclass(frozen=True)
class OneOfTwo(Process):
    """One of two processes; ``brought`` collects what each has."""

    brought: ClassVar[dict[int, object]] = {}

    def gather(self, items):
        self.brought[self.rank] = items[0]
        return [self.brought.get(rank, {}) for rank in range(2)]


def test_memories__two_processes__each_gets_its_own_back(trainer):
    """Catches the main process's memory in all of them."""
    models = [trainer().model for _ in range(4)]
    for rank, model in enumerate(models[:2]):
        model.contrast.memory.push(rank, torch.full((2, 4), float(rank)))
        states = ProcessMemories(model, OneOfTwo(rank, 2)).state_dict()
    for rank, model in enumerate(models[2:]):
        ProcessMemories(model, OneOfTwo(rank, 2)).load_state_dict(states)
        assert list(model.training_state()) == [rank]
        assert torch.equal(model.training_state()[rank], torch.full((2, 4), float(rank)))
    ProcessMemories(models[0], OneOfTwo(3, 4)).load_state_dict(states)  # the run had two processes, now there are four
    assert models[0].training_state() == {}


@pytest.mark.parametrize("wrong", [3, [3], [{"a": torch.zeros(2, 2)}], [{1: 5}], [{1: torch.zeros(4)}]])
def test_resume__damaged_memories__name_the_file(trainer, tmp_path, wrong):
    """Catches a foreign error some steps after a checkpoint of somebody else was loaded."""
    one = trainer()
    run(one, 1)
    one.save()
    path = tmp_path / "run" / "model_0000001.pth"
    torch.save({**torch.load(path, weights_only=True), "memories": wrong}, path)
    with pytest.raises(CheckpointError, match=r"model_0000001\.pth: its memories does not fit"):
        trainer().resume()


def test_resume__checkpoint_of_before__warns_and_goes_on(trainer, tmp_path, caplog):
    """Catches runs of an older version that cannot be continued any more, and numbers that differ in silence."""
    one = trainer()
    run(one, 1)
    one.save()
    path = tmp_path / "run" / "model_0000001.pth"
    content = torch.load(path, weights_only=True)
    del content["memories"]
    torch.save(content, path)
    again = trainer()
    assert again.resume()
    assert again.step == 1
    assert "holds no memories" in caplog.text
