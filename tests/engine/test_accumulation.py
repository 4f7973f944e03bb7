"""Several batches per optimizer step: one mean gradient, mean losses, seeds and messages of each."""

import math

import pytest
import torch

from dense.engine.state import step_seed
from dense.errors import ConfigError, NonFiniteError

SGD = ("SOLVER.OPTIMIZER", "SGD", "SOLVER.MOMENTUM", 0.0, "SOLVER.WEIGHT_DECAY", 0.0, "SOLVER.WARMUP_ITERS", 0)


@pytest.fixture
def quiet(make_trainer, monkeypatch):
    """Function from options to a trainer of the toy without noise."""

    def make(*options, **others):
        trainer, _ = make_trainer(*options, **others)
        random = torch.rand
        noise = lambda shape, **others: random(shape, **others) if others else torch.zeros(shape)  # noqa: E731
        monkeypatch.setattr(torch, "rand", noise)
        return trainer

    return make


def test_run_step__two_batches__step_of_the_joined_one(quiet, feed, tmp_path):
    """Catches a sum instead of the mean, the first batch's gradient lost, and losses of one batch reported as the step's."""
    batches = [feed.batch_of(0), feed.batch_of(1)]
    apart, joined = quiet(*SGD, "SOLVER.ACCUMULATE", 2), quiet(*SGD, folder=tmp_path / "other")
    ours, theirs = apart.run_step(*batches), joined.run_step(batches[0] + batches[1])
    assert ours == pytest.approx(theirs, rel=1e-6)
    for a, b in zip(apart.model.parameters(), joined.model.parameters(), strict=True):
        assert a.item() == pytest.approx(b.item(), rel=1e-6)
        assert a.item() not in (0.5, -0.25)  # it moved


def test_train__accumulated__batches_in_order_and_one_announcement_a_step(make_trainer, feed):
    """Catches batches skipped or used twice, a model told of more steps than there are, one seed for all batches of a step."""
    trainer, recorder = make_trainer("SOLVER.ACCUMULATE", 3, "SOLVER.MAX_ITER", 2, "SOLVER.LOG_PERIOD", 1)
    told, used, draws = [], [], []
    trainer.model.begin_step = told.append
    forward = trainer.model.forward

    def spy(batch):
        used.append([name for record in batch for name in record["file_names"]])
        draws.append(torch.initial_seed())
        return forward(batch)

    trainer.model.forward = spy
    trainer.train(feed.batches(0))
    assert told == [0, 1]
    assert used == [[f"video{i}/{k}.jpg" for k in range(2)] for i in range(6)]
    assert draws == [step_seed(3, number, 0) for number in range(6)]
    assert [step for step, _ in recorder.rows] == [1, 2]


def test_run_step__second_batch_not_finite__its_files_alone(make_trainer, feed):
    """Catches a message that names the wrong pictures, or weights changed by half a step."""
    trainer, _ = make_trainer("SOLVER.ACCUMULATE", 2)
    before = trainer.model.w.detach().clone()
    bad = feed.batch_of(1)
    bad[0]["x"] = torch.tensor(math.nan)
    with pytest.raises(NonFiniteError) as caught:
        trainer.run_step(feed.batch_of(0), bad)
    assert "video1/0.jpg, video1/1.jpg" in str(caught.value)
    assert "video0" not in str(caught.value)
    assert torch.equal(trainer.model.w, before)


def test_run_step__gradient_not_finite__files_of_all_batches(make_trainer, feed, monkeypatch):
    """Catches a message about the last batch where any may be to blame."""
    options = ["SOLVER.CLIP_GRADIENTS.ENABLED", True, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "full_model"]
    trainer, _ = make_trainer(*options, "SOLVER.ACCUMULATE", 2)
    monkeypatch.setattr(trainer, "wrapped", lambda batch: {"loss": (trainer.model.w * 0).sqrt()})
    with pytest.raises(NonFiniteError, match=r"gradients are not finite\. Batch: video0/0\.jpg, .*video1/1\.jpg"):
        trainer.run_step(feed.batch_of(0), feed.batch_of(1))


def test_run_step__scaled_losses_of_mixed_precision__lars_sees_the_gradient_itself(quiet, feed, tmp_path):
    """Catches an optimizer that gets the scaler's gradients: vectors would move 65,536 times too far."""
    options = ["SOLVER.OPTIMIZER", "LARS", "SOLVER.WARMUP_ITERS", 0, "SOLVER.ACCUMULATE", 2, "SOLVER.EMA_DECAY", 0.0]
    scaled, plain = quiet(*options), quiet(*options, folder=tmp_path / "other")
    for trainer in (scaled, plain):
        trainer.model.b = torch.nn.Parameter(torch.full((1,), -0.25))
        trainer.optimizer.param_groups[0]["params"] = [trainer.model.b]
        trainer.optimizer.param_groups[1]["params"] = [trainer.model.w]
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    for trainer in (scaled, plain):
        for step in range(3):
            trainer.run_step(feed.batch_of(2 * step), feed.batch_of(2 * step + 1))
            trainer.step += 1
    assert scaled.scaler.get_scale() == 65536.0
    assert scaled.model.b.item() == pytest.approx(plain.model.b.item(), rel=1e-6)
    assert scaled.model.w.item() == pytest.approx(plain.model.w.item(), rel=1e-6)
    assert plain.model.b.item() != -0.25


def test_run_step__overflow_under_the_scaler__step_skipped(quiet, feed):
    """Catches infinite gradients of half precision that reach the weights or the velocities."""
    trainer = quiet("SOLVER.OPTIMIZER", "LARS", "SOLVER.ACCUMULATE", 2)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = trainer.model.w.detach().clone()
    trainer.run_step(feed.batch_of(0), [{**r, "x": r["x"] * 1e3} for r in feed.batch_of(1)])
    assert torch.equal(trainer.model.w, before)
    assert trainer.scaler.get_scale() == 2.0**126
    assert not trainer.optimizer.state


def test_trainer__accumulate_zero__names_the_key(make_trainer):
    """Catches a division by zero."""
    with pytest.raises(ConfigError, match=r"SOLVER\.ACCUMULATE: 0, expected 1 or more"):
        make_trainer("SOLVER.ACCUMULATE", 0)
