"""Objectives of image-text pairs with false captions, and the focal form: what golden numbers at one point cannot show."""

import math

import numpy as np
import pytest
import torch

from dense.errors import ConfigError, DataError
from dense.modeling.objectives.clip import CLIP
from dense.modeling.objectives.focal_contrastive import FocalContrastive
from dense.modeling.objectives.local_pairs import CL2L
from dense.modeling.objectives.negclip import DeGLA, NegCLIP

TAU = 0.2


@pytest.fixture
def hard():
    """``(6, 2, 8)``."""
    return torch.randn(6, 2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()


@pytest.fixture(scope="module")
def reference(golden):
    """Contrastive arrays of DITO."""
    with np.load(golden("dito_contrastive.npz"), allow_pickle=False) as file:
        return {name: torch.from_numpy(np.array(file[name])) for name in file.files}


FORMS = {
    "softmax": (lambda **given: CLIP(**given), 1),
    "focal": (lambda **given: FocalContrastive(**given), 6),  # the reference sums, ours divides by the batch
    "focal_over_batch": (lambda **given: FocalContrastive(**given), 1),
    "focal_a.25_g2": (lambda **given: FocalContrastive(alpha=0.25, gamma=2.0, **given), 6),
}


@pytest.mark.golden
@pytest.mark.parametrize("chunk", [0, 4])
@pytest.mark.parametrize("tau", ["0.07", "1.0"])
@pytest.mark.parametrize("form", FORMS)
def test_pair_objectives__reference_of_dito__loss_and_gradients(reference, form, tau, chunk):
    """Catches swapped weights of true and other pairs, the exponent on the wrong side, a gradient past the normalisation."""
    make, factor = FORMS[form]
    objective = make(temperature=float(tau), chunk_size=chunk)
    image, text = (reference[f"con.{side}_embedding"].clone().requires_grad_() for side in ("image", "text"))
    loss = factor * objective([image, text]).loss
    loss.backward()
    slope = -objective.temperature.log_scale.grad / float(tau)  # of τ, from that of log(1/τ)
    found = {"loss": loss.detach(), "grad_image": image.grad, "grad_text": text.grad, "grad_tau": slope}
    for name, value in found.items():
        expected = reference[f"con.{form}.tau{tau}.{name}"]
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("chunk", [1, 4, 6, 9])
def test_focal__blocks_mask_and_equal_captions__as_dense(rows, chunk):
    """Catches blocks that forget the mask, equal captions or their own column."""
    keep = torch.rand(6, 6) > 0.3
    keep.fill_diagonal_(True)
    given = {"mask": keep, "captions": torch.tensor([0, 1, 0, 2, 3, 1])}
    outcomes = []
    for size in (0, chunk):
        views = rows()
        loss = FocalContrastive(temperature=TAU, chunk_size=size, duplicates="mask").double()(views, **given).loss
        loss.backward()
        outcomes.append([loss.detach(), *(view.grad for view in views)])
    torch.testing.assert_close(outcomes[0], outcomes[1], rtol=1e-10, atol=1e-12)
    plain = FocalContrastive(temperature=TAU).double()(rows()).loss
    assert float(outcomes[0][0]) < float(plain.detach())  # pairs left out take their terms with them


def test_focal__large_logits__finite():
    """Catches log(1 + exp(x)) written out."""
    views = [torch.eye(4).requires_grad_(), -torch.eye(4)]
    loss = FocalContrastive(temperature=0.01)(views).loss
    loss.backward()
    assert float(loss.detach()) == pytest.approx(100.0 + 3 * math.log(2) * 0.5, rel=1e-5)  # each true pair at -100, others at 0
    assert views[0].grad.isfinite().all()


@pytest.mark.parametrize("build", [NegCLIP, lambda **given: DeGLA(image_weight=0, text_weight=0, distill_weight=0, **given)])
def test_negclip__without_false_captions__is_clip(rows, hard, build):
    """Catches false captions that stay in the sum, and terms of DeGLA that weigh nothing but count."""
    views = rows()
    teacher = {} if build is NegCLIP else {"teacher_image": views[1], "teacher_text": views[0]}
    expected = CLIP(temperature=TAU)(views).loss
    objective = build(temperature=TAU)
    none = torch.zeros(6, 2, dtype=torch.bool)
    for given in ({}, {"hard": hard[:, :0]}, {"hard": hard, "hard_mask": none}):
        torch.testing.assert_close(objective(views, **given, **teacher).loss, expected, rtol=1e-10, atol=1e-12)


def test_negclip__false_captions__raise_the_loss_and_learn_from_images_alone(rows, hard):
    """Catches false captions that are rows of the text side, whose images would be pulled to them."""
    views = rows()
    output = NegCLIP(temperature=TAU)(views, hard=hard)
    plain = CLIP(temperature=TAU)(views)
    assert output.loss > plain.loss
    torch.testing.assert_close(output.terms["text_to_image"], plain.terms["text_to_image"])
    (by_terms,) = torch.autograd.grad(output.loss, hard)
    units = [torch.nn.functional.normalize(x, dim=-1) for x in (*views, hard.flatten(0, 1))]
    logits = units[0] @ torch.cat(units[1:]).T / TAU
    one_way = torch.nn.functional.cross_entropy(logits, torch.arange(6))
    torch.testing.assert_close(by_terms, torch.autograd.grad(one_way / 2, hard)[0], rtol=1e-5, atol=1e-7)


def test_negclip__false_caption_that_another_image_has__no_negative_of_that_image(rows, hard):
    """Catches an image pushed away from its own caption because it is the swapped version of another's."""
    views, captions = rows(), torch.arange(6)
    ids = torch.full((6, 2), -1)
    ids[0, 1] = 4  # a false version of caption 0 is caption 4
    output = NegCLIP(temperature=TAU)(views, hard=hard, captions=captions, hard_ids=ids)
    (slope,) = torch.autograd.grad(output.loss, views[0], retain_graph=True)
    moved = hard.detach().clone()
    moved[0, 1] *= -1
    other = NegCLIP(temperature=TAU)(views, hard=moved, captions=captions, hard_ids=ids)
    (changed,) = torch.autograd.grad(other.loss, views[0])
    same = (slope - changed).abs().amax(1) < 1e-12
    assert same.tolist() == [False, False, False, False, True, False]


@pytest.mark.parametrize("layout", ["own", "published"])
def test_degla__a_false_caption_of_another__counts_in_the_published_layout_only(rows, hard, layout):
    """Catches captions that are compared with other captions' false versions."""
    views, objective = rows(), DeGLA(temperature=TAU, layout=layout)
    teacher = {"teacher_image": views[1].detach(), "teacher_text": views[0].detach()}
    moved = hard.detach().clone()
    moved[2] *= -1  # published: caption 5 is compared with false versions 5 and 11 in a row, of captions 2 and 5
    last = torch.tensor([0.0, 0, 0, 0, 0, 1])
    before, after = (objective(views, hard=h, weights=last, **teacher).terms for h in (hard, moved))
    assert before["image_grounded"] == after["image_grounded"]
    assert (before["text_grounded"] == after["text_grounded"]) == (layout == "own")


def test_degla__teacher_equal_to_student__no_distillation_and_no_gradient_to_it(rows, hard):
    """Catches a teacher that learns, and distances to the wrong rows."""
    views = rows()
    teacher = {"teacher_image": views[0].detach().requires_grad_(), "teacher_text": views[1].detach()}
    output = DeGLA(temperature=TAU)(views, hard=hard, teacher_hard=hard.detach(), **teacher)
    assert float(output.terms["distill"]) == pytest.approx(0.0, abs=1e-12)
    output.loss.backward()
    assert teacher["teacher_image"].grad is None
    with pytest.raises(DataError, match="slow copy"):
        DeGLA(temperature=TAU)(views)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hard": torch.zeros(6, 8)}, r"hard: \[6, 8\]"),
        ({"hard": torch.zeros(5, 2, 8)}, r"hard: \[5, 2, 8\]"),
        ({"hard": torch.ones(6, 2, 8), "hard_mask": torch.ones(6, 2)}, "hard_mask"),
        ({"hard": torch.ones(6, 2, 8), "hard_ids": torch.ones(6)}, "hard_ids"),
        ({"hard": torch.zeros(6, 2, 8)}, "zero"),
    ],
)
def test_negclip__wrong_input__named(rows, given, message):
    """Catches shapes that broadcast silently."""
    with pytest.raises(DataError, match=message):
        NegCLIP(temperature=TAU)(rows(), **given)


def test_objectives__values_outside_their_range__refused(build):
    """Catches weights and names that would change the loss silently."""
    with pytest.raises(ConfigError, match="alpha"):
        build("FocalContrastive", FOCAL_ALPHA=1.5)
    with pytest.raises(ConfigError, match="duplicates"):
        build("FocalContrastive", DUPLICATES="positive")
    with pytest.raises(ConfigError, match="layout"):
        build("DeGLA", TGC_LAYOUT="other")


@pytest.mark.golden
@pytest.mark.parametrize("chunk", [0, 4])
def test_cl2l__golden_case__loss_gradients_and_parts(case, chunk):
    """Catches pairs left out, one temperature for both kinds, smoothing of the whole pairs, and a sum for the mean."""
    golden = case("vlp_cl2l")
    inputs = golden.inputs()
    objective = CL2L(chunk_size=chunk, local_smoothing=golden.const("eps")).double()
    for part, name in ((objective.temperature, "log_scale"), (objective.local_temperature, "h_log_scale")):
        part.log_scale = torch.nn.Parameter(inputs[name].detach().clone())
    local = {"local_images": [inputs["hi0"], inputs["hi1"]], "local_texts": [inputs["ht0"], inputs["ht1"]]}
    output = objective([inputs["zi"], inputs["zt"]], **local)
    output.loss.backward()
    inputs["log_scale"].grad = objective.temperature.log_scale.grad
    inputs["h_log_scale"].grad = objective.local_temperature.log_scale.grad
    assert float(output.loss.detach()) == pytest.approx(golden["loss"].item(), abs=1e-9)
    for name in golden.arrays:
        if name.startswith("grad."):
            np.testing.assert_allclose(inputs[name[5:]].grad.numpy(), golden[name], rtol=0, atol=1e-8)
    pairs = {"image_to_text": "global_image", "text_to_image": "global_text", "local_image_to_text": "local_image"}
    for term, aux in (pairs | {"local_text_to_image": "local_text"}).items():
        assert float(output.terms[term]) == pytest.approx(golden[f"aux.{aux}"].item(), abs=1e-9)


def test_cl2l__no_local_views__is_clip(rows):
    """Catches a division that stays without local pairs; lists of other lengths that are cut to the shorter."""
    views = rows()
    torch.testing.assert_close(CL2L(temperature=TAU)(views).loss, CLIP(temperature=TAU)(views).loss)
    with pytest.raises(DataError, match="local_texts: 0"):
        CL2L(temperature=TAU)(views, local_images=[views[0]])
    with pytest.raises(DataError, match="local views"):
        CL2L(temperature=TAU)(views, local_images=[views[0]], local_texts=[views[1][:4]])
