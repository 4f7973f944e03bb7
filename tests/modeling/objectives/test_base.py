"""The call that objectives share: errors, configuration, temperature, queue, state, memory."""

import math

import pytest
import torch

from dense.errors import ConfigError, DataError, NonFiniteError
from dense.modeling.objectives import build_objective, objective_node
from dense.modeling.objectives.infonce import InfoNCE
from dense.modeling.objectives.queue import RowQueue
from dense.modeling.objectives.similarity import row_lse
from dense.modeling.objectives.swav import SwAV
from dense.modeling.objectives.temperature import Temperature
from dense.modeling.registries import OBJECTIVES


def broken(rows, value, row=2):
    views = [view.detach().clone() for view in rows()]
    views[1][row] = value
    return views


@pytest.mark.parametrize(
    ("name", "error", "message", "change"),
    [
        ("InfoNCE", DataError, r"views: 1 sample of \(1, 8\), InfoNCE needs 2", lambda r: {"views": r(2, 1)}),
        ("DCL", DataError, r"views: 3 given, DCL takes 2", lambda r: {"views": r(3)}),
        ("MVDHEL", DataError, r"views: 1 given, MVDHEL takes 2 or more", lambda r: {"views": r(1)}),
        ("DCL", DataError, r"views\[1\]: shape \(4, 8\), but views\[0\]", lambda r: {"views": [r()[0], r(2, 4)[1]]}),
        ("DCL", DataError, r"views\[0\]: torch.int64 \(6, 8\)", lambda r: {"views": [v.detach().long() for v in r()]}),
        ("DCL", NonFiniteError, r"views\[1\]: row 2 of 6 has NaN", lambda r: {"views": broken(r, math.nan)}),
        ("DCL", NonFiniteError, r"views\[1\]: row 3 of 6 has NaN or inf", lambda r: {"views": broken(r, math.inf, 3)}),
        ("DCL", DataError, r"views\[1\]: row 2 of 6 is zero", lambda r: {"views": broken(r, 0.0)}),
        ("DCL", DataError, r"weights: shape \(5,\), expected \(6,\)", lambda r: {"weights": torch.ones(5)}),
        ("DCL", DataError, r"weights: -1.0 at row 0", lambda r: {"weights": torch.tensor([-1.0, 1, 1, 1, 1, 1])}),
        ("DCL", DataError, r"mask: torch.float32 \(6, 6\), expected bool", lambda r: {"mask": torch.ones(6, 6)}),
        ("DCL", DataError, r"mask: torch.bool \(6, 5\)", lambda r: {"mask": torch.ones(6, 5, dtype=torch.bool)}),
        ("DCL", DataError, r"mask: row 0 leaves out its own", lambda r: {"mask": torch.zeros(6, 6, dtype=torch.bool)}),
        ("DCL", DataError, r"visible: DCL has no form", lambda r: {"visible": torch.ones(2, 6, dtype=torch.bool)}),
        ("MVDHEL", DataError, r"visible: torch.bool \(1, 6\)", lambda r: {"visible": torch.ones(1, 6, dtype=torch.bool)}),
        ("SwAV", DataError, r"mask: SwAV has no pairs", lambda r: {"mask": torch.ones(6, 6, dtype=torch.bool)}),
        ("SwAV", DataError, r"8 dimensions, the prototypes have 128. Set DIM", lambda r: {}),
        ("CLIP", DataError, r"caption: CLIP takes no such input. Did you mean 'captions'", lambda r: {"caption": 1}),
        ("CACR", DataError, r"keys: the form with a queue", lambda r: {"keys": r()}),
        ("CACRMomentum", DataError, r"key: absent", lambda r: {}),
        ("DCL", DataError, r"labels: shape \(2,\)", lambda r: {"labels": torch.zeros(2)}),
    ],
)
def test_objective__wrong_input__names_argument_and_shape(name, error, message, change, rows, build):
    """Catches a foreign traceback, and a silent wrong loss."""
    given = {"views": rows(), **change(rows)}
    with pytest.raises(error, match=message):
        build(name)(given.pop("views"), **given)


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("InfoNCE", "TEMPERATURE", 0.0, "temperature: 0.0"),
        ("InfoNCE", "GATHER", "all", "gather: 'all'"),
        ("InfoNCE", "FORM", "onway", "Did you mean 'oneway'"),
        ("InfoNCE", "POSITIVES", "mean", "positives: 'mean'"),
        ("InfoNCE", "CHUNK_SIZE", -1, "chunk_size -1"),
        ("DCL", "DIRECTIONS", "both", "directions: 'both'"),
        ("DCLW", "SIGMA", 0.0, "sigma: 0.0"),
        ("MVInfoNCE", "ENERGY", "none", "energy: 'none'"),
        ("CACR", "T_NEG", -1.0, "t_neg -1.0"),
        ("CACRMomentum", "COST", "cosine", "cost: 'cosine'"),
        ("CACRMomentum", "LEARN_TEMPERATURE", True, "learn_temperature: CACRMomentum"),
        ("CLIP", "LABEL_SMOOTHING", 1.0, "label_smoothing: 1.0"),
        ("CLIP", "DUPLICATES", "drop", "duplicates: 'drop'"),
        ("SwAV", "PROTOTYPES", 0, "prototypes 0"),
        ("InfoNSE", "DIM", 8, "unknown objective 'InfoNSE'. Did you mean 'InfoNCE'"),
    ],
)
def test_objective__wrong_key__one_line(name, key, value, message, build):
    """Catches a value that is accepted and does something else."""
    with pytest.raises(ConfigError, match=message):
        build(name, **{key: value})


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_objective__default_node__builds_and_trains(name, rows):
    """Catches an entry whose keys are missing from the node, and one that cannot run in float32 with its defaults."""
    node = objective_node(name)
    node.DIM, node.DIAG_PERIOD, node.PROTOTYPES = 8, 1, 12
    views = rows(dtype=torch.float32)
    teacher = {"teacher_image": views[1].detach(), "teacher_text": views[0].detach()}
    extra = {"CACRMomentum": {"key": views[1].detach()}, "DeGLA": teacher}.get(name, {})
    output = build_objective(node)(views, **extra)
    output.loss.backward()
    assert output.loss.dtype == torch.float32
    assert all(not value.requires_grad for value in (*output.terms.values(), *output.diagnostics.values()))
    assert {"alignment", "uniformity", "effective_rank", "temperature"} <= output.diagnostics.keys()


def test_objective__diagnostics__every_so_many_training_calls(rows):
    """Catches diagnostics computed in each step, or in evaluation."""
    objective = InfoNCE(diag_period=3)
    assert [bool(objective(rows()).diagnostics) for _ in range(7)] == [True, False, False, True, False, False, True]
    for flag in (True, False):
        objective.want_figures(flag)
        assert [bool(objective(rows()).diagnostics) for _ in range(4)] == [flag] * 4
    objective.want_figures(True)
    assert not objective.eval()(rows()).diagnostics


def test_objective__autocast__computed_in_float32(rows):
    """Catches a similarity in half precision whose exponential overflows."""
    views = rows(dtype=torch.float32)
    plain = InfoNCE(temperature=0.01)(views).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = InfoNCE(temperature=0.01)([view.bfloat16() for view in views])
        assert torch.equal(InfoNCE(temperature=0.01)(views).loss, plain)
    assert mixed.loss.dtype == torch.float32
    assert bool(mixed.loss.isfinite())


def test_temperature__learnt__clamped_before_the_next_step():
    """Catches a scale above 100 that makes the softmax collapse late in training."""
    temperature = Temperature(0.07, learn=True)
    assert math.isclose(float(temperature(torch.ones(1)).detach()), 1 / 0.07, rel_tol=1e-6)
    with torch.no_grad():
        temperature.log_scale.fill_(9.0)
    assert math.isclose(float(temperature(torch.ones(1)).detach()), 100, rel_tol=1e-6)
    assert math.isclose(temperature.current(), 0.01, rel_tol=1e-6)
    assert temperature.log_scale.ndim == 0  # what the optimiser's rule takes out of weight decay
    with pytest.raises(ConfigError, match=r"temperature: 2, expected 0\.01 to 1"):
        Temperature(2, learn=True)


def test_queue__pushes_of_any_size__last_rows_stay():
    """Catches a write beyond the end, and an order that keeps old rows instead of new ones."""
    queue, seen = RowQueue(5, 1), []
    for size in (2, 2, 3, 7, 1, 5):
        new = torch.arange(len(seen), len(seen) + size, dtype=torch.float32)[:, None]
        seen += new.flatten().tolist()
        queue.push(new)
        assert sorted(queue.filled().flatten().tolist()) == seen[-5:]
    with pytest.raises(DataError, match=r"queue: rows \(1, 2, 3\), expected \(1, B, 1\)"):
        queue.push(torch.zeros(2, 3))


@pytest.mark.parametrize("name", ["queue", "swav"])
def test_objective__saved_and_loaded__continues_bit_equal(name, rows):
    """Catches queues, prototypes or the step outside the state dict."""

    def make(seed):
        torch.manual_seed(seed)
        if name == "swav":
            return SwAV(prototypes=5, dim=8, queue_size=6, queue_start=1, freeze_steps=2)
        return InfoNCE(form="queue", queue_size=9, dim=8)

    first, second = make(0), make(1)
    for step in range(4):
        first.begin_step(step)
        first(rows(seed=step, dtype=torch.float32))
    second.load_state_dict(first.state_dict())
    for seed in (7, 8):
        views = rows(seed=seed, dtype=torch.float32)
        assert torch.equal(first(views).loss, second(views).loss)


def test_row_lse__blocks__little_memory(frugal):
    """Catches blocks that are all kept for the backward pass: dense needs 4096² numbers several times over, 64 MB each."""
    torch.manual_seed(0)
    view = torch.nn.functional.normalize(torch.randn(4096, 16), dim=1).requires_grad_()
    row_lse(view[:64], view[:64], torch.tensor(10.0), chunk=32).sum().backward()  # libraries load before
    with frugal(megabytes=40, seconds=30):
        row_lse(view, view, torch.tensor(10.0), chunk=256).sum().backward()
