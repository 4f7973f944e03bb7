"""Trainer: a continued run gives the same numbers; what is not finite stops it before any harm."""

import math
from typing import ClassVar

import pytest
import torch

from dense.checkpoint.reading import read_metadata, read_state_dict
from dense.engine.launch import Process
from dense.errors import CheckpointError, ConfigError, NonFiniteError


def run(trainer, feed, steps):
    """Steps one by one; the losses as they are."""
    losses = []
    for _ in range(steps):
        losses.append(trainer.run_step(feed.batch_of(trainer.step)))
        trainer.step += 1
    return losses


@pytest.mark.parametrize("schedule", ["WarmupCosineLR", "WarmupMultiStepLR"])
@pytest.mark.parametrize("killed_at", [1, 4, 9])
def test_train__killed_and_resumed__same_numbers_to_the_bit(make_trainer, feed, tmp_path, schedule, killed_at):
    """Catches anything that is not saved: optimizer moments, schedule, averages, the generator's place."""
    options = ("SOLVER.LR_SCHEDULER_NAME", schedule, "SOLVER.STEPS", (5, 8), "SOLVER.GAMMA", 0.5)
    whole, _ = make_trainer(*options, folder=tmp_path / "whole")
    expected = run(whole, feed, 12)

    first, _ = make_trainer(*options)
    head = run(first, feed, killed_at)
    first.save()
    run(first, feed, 2)  # steps after the checkpoint are lost with the process
    torch.manual_seed(99)
    second, _ = make_trainer(*options)
    assert second.resume()
    assert second.step == killed_at
    assert head + run(second, feed, 12 - killed_at) == expected
    assert len({row["lr"] for row in expected}) > 2
    for key, value in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[key], value)
        assert torch.equal(second.averaged.values[key], whole.averaged.values[key])
    assert second.schedule.get_last_lr() == whole.schedule.get_last_lr()


def test_train__loop__saves_evaluates_and_writes_at_its_periods(make_trainer, feed, tmp_path):
    """Catches a final step that is neither saved, evaluated nor written, and weights other than the averaged ones evaluated."""
    trainer, recorder = make_trainer("TEST.EVAL_PERIOD", 5)
    seen = []

    def evaluate(model, step):
        assert not model.training
        assert torch.equal(model.w, trainer.averaged.values["w"])
        seen.append(step)
        return {"AP": float(step)}

    trainer.train(feed.batches(0), evaluate)
    assert seen == [5, 10, 12]
    assert trainer.model.training
    assert not torch.equal(trainer.model.w, trainer.averaged.values["w"])  # its own weights are back
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "last_checkpoint",
        "last_evaluation",
        "model_0000004.pth",
        "model_0000008.pth",
        "model_0000012.pth",
    ]
    assert [step for step, row in recorder.rows if "test/AP" in row] == [5, 10, 12]
    (last,) = [row for step, row in recorder.rows if "total_loss" in row]
    assert last["total_loss"] == pytest.approx(last["loss_square"] + last["loss_abs"], rel=1e-5)


@pytest.mark.parametrize("step", [4, 12])
def test_train__killed_between_checkpoint_and_figures__evaluates_first(make_trainer, feed, step):
    """Catches a run without the figures of a step, even the last, because it was killed while it was evaluated."""

    def killed(model, now):
        if now == step:
            raise KeyboardInterrupt
        return {"AP": 1.0}

    trainer, _ = make_trainer("TEST.EVAL_PERIOD", 4)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(feed.batches(0), killed)
    again, recorder = make_trainer("TEST.EVAL_PERIOD", 4)
    assert again.resume()
    again.train(feed.batches(again.step), lambda model, step: {"AP": 1.0})
    assert [now for now, row in recorder.rows if "test/AP" in row] == list(range(step, 13, 4))
    finished, recorder = make_trainer("TEST.EVAL_PERIOD", 4)
    assert finished.resume()
    finished.train(iter([]), lambda model, step: pytest.fail("evaluated again"))  # all there: not evaluated again
    assert not recorder.rows


def test_train__log_period__figures_of_every_so_many_steps(make_trainer, feed):
    """Catches the key without effect."""
    trainer, recorder = make_trainer("SOLVER.LOG_PERIOD", 5)
    trainer.train(feed.batches(0))
    assert [step for step, _ in recorder.rows] == [5, 10, 12]


class TwoProcesses(Process):
    """The main one of two processes; the other's total loss is 1 higher, and it takes part in ``exchanged`` rounds."""

    exchanged: ClassVar[list[int]] = []

    def wrap(self, model, device):
        return model

    def gather(self, items):
        self.exchanged.append(len(items))
        return [*items, {**items[0], "total_loss": items[0]["total_loss"] + 1.0}]


def test_train__two_processes__logged_losses_are_their_mean(make_trainer, feed, tmp_path):
    """Catches metrics of the main process alone, and an exchange in steps that are not logged."""
    options = ["SOLVER.LOG_PERIOD", 5]
    alone, expected = make_trainer(*options, folder=tmp_path / "alone")
    alone.train(feed.batches(0))
    TwoProcesses.exchanged.clear()
    both, recorder = make_trainer(*options, folder=tmp_path / "both", process=TwoProcesses(world_size=2))
    both.train(feed.batches(0))
    assert TwoProcesses.exchanged == [1, 1, 1]  # steps 5, 10 and 12
    for (step, row), (_, single) in zip(recorder.rows, expected.rows, strict=True):
        assert row["total_loss"] == pytest.approx(single["total_loss"] + 0.5), step
        assert row["loss_abs"] == pytest.approx(single["loss_abs"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SOLVER.LOG_PERIOD", 0),
        ("SOLVER.CHECKPOINT_PERIOD", 0),
        ("SOLVER.EMA_DECAY", 1.5),
        ("SOLVER.BASE_LR", -0.1),
        ("SOLVER.WEIGHT_DECAY", -0.1),
        ("TEST.EVAL_PERIOD", -5),
    ],
)
def test_trainer__impossible_number__names_the_key(make_trainer, key, value):
    """Catches a division by zero after the first step, and torch's own errors."""
    with pytest.raises(ConfigError, match=f"{key}: {value}, expected 0|{key}: {value}, expected 1"):
        make_trainer(key, value)


def test_train__resumed_run__ends_at_the_same_step(make_trainer, feed):
    """Catches a continued run that counts its steps anew."""
    trainer, _ = make_trainer("SOLVER.MAX_ITER", 8)
    trainer.train(feed.batches(0))
    again, _ = make_trainer("SOLVER.MAX_ITER", 12)
    assert again.resume()
    again.train(feed.batches(again.step))
    assert again.step == 12
    finished, _ = make_trainer("SOLVER.MAX_ITER", 12)
    finished.resume()
    finished.train(iter([]))  # nothing left to do: no batch is asked for


def test_resume__empty_folder__starts_at_zero(make_trainer):
    """Catches an error where there is simply nothing yet."""
    trainer, _ = make_trainer()
    assert not trainer.resume()
    assert trainer.step == 0


def test_resume__other_model__raises(make_trainer, feed):
    """Catches a run continued with weights that do not fit, after a change of the configuration."""
    trainer, _ = make_trainer()
    run(trainer, feed, 1)
    trainer.save()
    other, _ = make_trainer("SOLVER.EMA_DECAY", 0.0)
    assert other.resume()  # without averages: what the file has more is not needed
    third, _ = make_trainer()
    third.model.register_parameter("extra", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(CheckpointError, match="its model does not fit"):
        third.resume()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_run_step__loss_not_finite__names_step_loss_and_files(make_trainer, feed, value):
    """Catches days of training on NaN, and an error that does not say which pictures; the weights stay as they were."""
    trainer, _ = make_trainer()
    run(trainer, feed, 3)
    before = trainer.model.w.detach().clone()
    batch = feed.batch_of(3)
    batch[1]["x"] = torch.tensor(value)
    with pytest.raises(NonFiniteError) as caught:
        trainer.run_step(batch)
    for word in ("step 3", "loss_square", "loss_abs", "video3/0.jpg", "video3/1.jpg"):
        assert word in str(caught.value)
    assert torch.equal(trainer.model.w, before)


def test_run_step__model_raises_not_finite__names_the_files_too(make_trainer, feed, monkeypatch):
    """Catches the matcher's error passed on without the batch's files."""
    trainer, _ = make_trainer()

    def broken(batch):
        raise NonFiniteError("record 1 of the batch: the model's outputs are not finite.")

    monkeypatch.setattr(trainer, "wrapped", broken)
    with pytest.raises(NonFiniteError, match=r"step 0: record 1 .*video0/0\.jpg, video0/1\.jpg"):
        trainer.run_step(feed.batch_of(0))


def test_run_step__gradient_not_finite__stops_before_the_weights_change(make_trainer, feed, monkeypatch):
    """Catches finite losses with NaN gradients, which poison weights, moments and the next checkpoint."""
    options = ["SOLVER.CLIP_GRADIENTS.ENABLED", True, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "full_model"]
    trainer, _ = make_trainer(*options, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 1.0)
    before = trainer.model.w.detach().clone()
    monkeypatch.setattr(trainer, "wrapped", lambda batch: {"loss": (trainer.model.w * 0).sqrt()})  # 0, with gradient NaN
    with pytest.raises(NonFiniteError, match=r"step 0: the gradients are not finite. Batch: video0/0\.jpg"):
        trainer.run_step(feed.batch_of(0))
    assert torch.equal(trainer.model.w, before)


def test_run_step__batch_without_names__still_says_something(make_trainer):
    """Catches a KeyError while another error is being told."""
    trainer, _ = make_trainer()
    with pytest.raises(NonFiniteError, match="no file name"):
        trainer.run_step([{"x": torch.tensor(math.nan)}])


def test_save_weights__averaged__with_the_configuration(make_trainer, feed, tmp_path):
    """Catches the last weights written where averages exist, and a header without the configuration."""
    trainer, _ = make_trainer()
    run(trainer, feed, 5)
    trainer.save_weights(tmp_path / "final.safetensors")
    tensors = read_state_dict(tmp_path / "final.safetensors")
    assert torch.equal(tensors["w"], trainer.averaged.values["w"])
    assert not torch.equal(tensors["w"], trainer.model.w)
    metadata = read_metadata(tmp_path / "final.safetensors")
    assert metadata["step"] == "5"
    assert "BASE_LR: 0.05" in metadata["config"]


def test_trainer__other_process__writes_nothing_and_draws_otherwise(make_trainer, feed, tmp_path):
    """Catches several processes writing the same file, and drawing the same points."""
    main, _ = make_trainer(folder=tmp_path / "a")
    trainer, recorder = make_trainer(folder=tmp_path / "b", process=Process(rank=1, world_size=1))
    assert run(trainer, feed, 1) != run(main, feed, 1)
    trainer.train(feed.batches(1))
    assert recorder.rows == []
    assert not list((tmp_path / "b").glob("*"))


def test_trainer__accumulated_gradients__are_cleared(make_trainer, feed):
    """Catches gradients of the last step added to this one: one plain SGD step is done by hand."""
    options = ("SOLVER.OPTIMIZER", "SGD", "SOLVER.MOMENTUM", 0.0, "SOLVER.WEIGHT_DECAY", 0.0, "SOLVER.WARMUP_ITERS", 0)
    trainer, _ = make_trainer(*options)
    run(trainer, feed, 3)
    before = trainer.model.w.detach().clone()
    rate = trainer.optimizer.param_groups[0]["lr"]
    run(trainer, feed, 1)
    assert trainer.model.w.item() == pytest.approx((before - rate * trainer.model.w.grad).item(), rel=1e-6)


def test_run_step__model_that_follows_the_training__is_told_the_step(make_trainer, feed):
    """Catches a model whose schedule starts again when a run is continued."""
    first, _ = make_trainer()
    run(first, feed, 3)
    first.save()
    second, _ = make_trainer()
    assert second.resume()
    told = []
    second.model.begin_step = told.append
    run(second, feed, 2)
    assert told == [3, 4]
