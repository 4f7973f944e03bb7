"""Exact identities and invariances of the objectives: what golden numbers at one point cannot show."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.modeling.objectives.cacr import CACR, CACRMomentum
from dense.modeling.objectives.clip import CLIP
from dense.modeling.objectives.dcl import DCL, DCLW
from dense.modeling.objectives.diagnostics import alignment
from dense.modeling.objectives.infonce import InfoNCE
from dense.modeling.objectives.multiview import MVDHEL, MVInfoNCE
from dense.modeling.objectives.sinkhorn import sinkhorn
from dense.modeling.objectives.swav import SwAV

SIZE, DIM, TAU = 6, 8, 0.2


def swav(**given):
    torch.manual_seed(5)
    return SwAV(prototypes=5, dim=DIM, temperature=TAU, **given).double()


CHUNKED = {
    "ntxent": lambda: InfoNCE(temperature=TAU, chunk_size=5),
    "oneway": lambda: InfoNCE(form="oneway", temperature=TAU),
    "dcl": lambda: DCL(temperature=TAU),
    "dclw": lambda: DCLW(temperature=TAU, chunk_size=4),
    "swav": swav,
    "mv_infonce": lambda: MVInfoNCE(temperature=TAU),
    "mv_cross": lambda: MVInfoNCE(temperature=TAU, energy="cross"),
    "mv_dhel": lambda: MVDHEL(temperature=TAU),
    "cacr": lambda: CACR(chunk_size=4),
    "clip": lambda: CLIP(temperature=TAU, label_smoothing=0.1),
}


def value(name, views, **given):
    objective = CHUNKED[name]().eval()
    return objective(views, **given).loss.detach()


@pytest.mark.parametrize("name", CHUNKED)
def test_objective__same_samples_otherwise_written__same_loss(name, rows):
    """Catches labels that are not aligned with rows, a missing normalisation, and a use of single coordinates."""
    views = [view.detach() for view in rows()]
    plain = value(name, views)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    scales = torch.rand(SIZE, 1, dtype=torch.float64) * 9 + 0.1
    torch.testing.assert_close(value(name, [view[order] for view in views]), plain, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(value(name, [view * scales for view in views]), plain, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(value(name, views, weights=torch.ones(SIZE)), plain, rtol=1e-10, atol=1e-10)
    rotation = torch.linalg.qr(torch.randn(DIM, DIM, dtype=torch.float64))[0]
    objective = CHUNKED[name]().eval()
    if name == "swav":
        objective.prototypes.data @= rotation
    torch.testing.assert_close(objective([view @ rotation for view in views]).loss.detach(), plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CHUNKED)
def test_objective__weights_doubled_or_all_zero__same_loss_or_zero(name, rows):
    """Catches weights applied after the mean, or divided by B; zero for all gives 0 with a graph."""
    views = rows()
    weights = torch.tensor([2.0, 0.0, 1.0, 0.5, 0.0, 3.0])
    loss = CHUNKED[name]()
    torch.testing.assert_close(loss(views, weights=2 * weights).loss, loss(views, weights=weights).loss)
    nothing = loss(views, weights=0 * weights).loss
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert all(float(view.grad.abs().sum()) == 0 for view in views)


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_objective__identical_and_opposite_views__finite_gradients_orthogonal_to_rows(name, sign, rows):
    """Catches square roots at distance zero, and a gradient that lengthens rows."""
    first = rows(1)[0]
    second = (sign * first).detach().requires_grad_()
    CHUNKED[name]()([first, second]).loss.backward()
    for view in (first, second):
        assert bool(view.grad.isfinite().all())
        torch.testing.assert_close((view.grad * view).sum(1), torch.zeros(SIZE, dtype=torch.float64), atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", [n for n in CHUNKED if n != "swav"])
@pytest.mark.parametrize("shape", [(2, 1), (2, 3), (3, 5)])
def test_objective__gradcheck__analytic_gradient(name, shape, rows):
    """Catches a backward pass of the blocks that is only right at the golden shapes (B = 2 and D = 1 among them)."""
    views = rows(2, *shape, seed=3)
    assert torch.autograd.gradcheck(lambda *given: CHUNKED[name]()(list(given)).loss, views, atol=1e-6)


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize("temperature", [0.01, 100.0])
def test_objective__extreme_temperature_float32__finite(name, temperature, rows):
    """Catches an exponential outside log-sum-exp: e^100 overflows float32."""
    views = rows(dtype=torch.float32)
    objective = CHUNKED[name]().float()
    objective.temperature = type(objective.temperature)(temperature)
    output = objective(views)
    output.loss.backward()
    assert bool(output.loss.isfinite())
    assert all(bool(view.grad.isfinite().all()) for view in views)


def test_ntxent__softplus_of_dcl__per_anchor(rows):
    """Catches a positive left in the denominator of DCL or removed from NT-Xent's, per anchor and with its gradient."""
    views = rows()
    anchor = torch.zeros(SIZE)
    anchor[2] = 1.0
    # One sample counts: NT-Xent is then the mean of its two anchors, DCL the mean of its two directions.
    unit = [F.normalize(view, dim=1) for view in views]
    stacked = torch.cat(unit)
    logits = stacked @ stacked.T / TAU
    terms = []
    for a, partner in ((2, 2 + SIZE), (2 + SIZE, 2)):
        negatives = [k for k in range(2 * SIZE) if k not in (a, partner)]
        terms.append(torch.logsumexp(logits[a, negatives], 0) - logits[a, partner])
    decoupled = DCL(temperature=TAU)(views, weights=anchor).loss
    torch.testing.assert_close(decoupled, torch.stack(terms).mean())
    contrast = InfoNCE(temperature=TAU)(views, weights=anchor).loss
    torch.testing.assert_close(contrast, F.softplus(torch.stack(terms)).mean())
    assert bool(contrast > decoupled)


def test_objectives__orthonormal_identical_views__closed_forms():
    """Catches a forgotten self-mask (it would add e^(1/τ) to every denominator)."""
    views = [torch.eye(DIM, dtype=torch.float64)[:SIZE] * 3.0] * 2
    weight = math.exp(-1 / TAU)
    b = SIZE
    expected = {
        InfoNCE(temperature=TAU): math.log(1 + 2 * (b - 1) * weight),
        DCL(temperature=TAU): math.log(2 * (b - 1)) - 1 / TAU,
        CLIP(temperature=TAU, learn_temperature=False): math.log(1 + (b - 1) * weight),
    }
    for objective, loss in expected.items():
        assert math.isclose(float(objective(views).loss), loss, rel_tol=1e-9)
    for v in (2, 3, 5):
        many = views[:1] * v
        dhel = v * math.log(b - 1) - math.log(v * (v - 1) / 2) - 1 / TAU
        assert math.isclose(float(MVDHEL(temperature=TAU)(many).loss), dhel, rel_tol=1e-9)
        info = math.log(1 + v * (b - 1) * weight / (v - 1))
        assert math.isclose(float(MVInfoNCE(temperature=TAU)(many).loss), info, rel_tol=1e-9)


def test_dclw__weights__sum_to_the_batch_and_one_for_equal_pairs(rows):
    """Catches a softmax over the wrong axis, or the factor B missing."""
    views = rows()
    objective = DCLW(temperature=TAU)
    batch = objective._batch(views, None, None, None, None)
    assert math.isclose(float(objective.pair_weights(batch).sum()), SIZE, rel_tol=1e-12)
    same = [views[0], views[0].detach()]  # all pairs equally hard
    torch.testing.assert_close(objective(same).loss, DCL(temperature=TAU)(same).loss)


def test_mv_infonce__two_views__above_ntxent_and_permutable(rows):
    """Catches the energy averaged instead of summed in the logarithm, and a dependence on the order of views."""
    views = rows()
    assert float(MVInfoNCE(temperature=TAU)(views).loss) > float(InfoNCE(temperature=TAU)(views).loss)
    many = rows(4)
    for kind in (MVInfoNCE, MVDHEL):
        torch.testing.assert_close(kind(temperature=TAU)(many).loss, kind(temperature=TAU)(many[::-1]).loss)


def test_mv_dhel__two_views__dhel(rows):
    """Catches cross-view negatives or ordered pairs in MV-DHEL."""
    views = rows()
    unit = [F.normalize(view, dim=1) for view in views]
    rest = ~torch.eye(SIZE, dtype=torch.bool)
    energy = sum(torch.logsumexp((u @ u.T / TAU)[rest].view(SIZE, -1), 1) for u in unit)
    expected = (energy - (unit[0] * unit[1]).sum(1) / TAU).mean()
    torch.testing.assert_close(MVDHEL(temperature=TAU)(views).loss, expected)
    torch.testing.assert_close(MVDHEL(temperature=TAU, per_view_scale=True)(views).loss, expected / 2)


@pytest.mark.parametrize("kind", [MVInfoNCE, MVDHEL])
@pytest.mark.parametrize("chunk", [0, 5])
def test_multiview__missing_views__left_out_but_still_negatives(kind, chunk, rows):
    """Catches a missing view that takes part, and a sample seen once that trains itself instead of serving as a negative."""
    views, seen = rows(3), torch.ones(3, SIZE, dtype=torch.bool)
    objective = kind(temperature=TAU, chunk_size=chunk)
    torch.testing.assert_close(objective(views, visible=seen).loss, objective(views).loss)
    seen[1:, 2] = False  # sample 2 is seen once
    seen[:, 4] = False  # sample 4 never
    loss = objective(views, visible=seen)
    loss.loss.backward()
    assert int(loss.terms["samples_left_out"]) == 2
    assert float(views[0].grad[2].abs().sum()) > 0
    assert all(float(view.grad[4].abs().sum()) == 0 for view in views)
    assert all(bool(view.grad.isfinite().all()) for view in views)


def test_multiview__one_sample_visible_in_a_view__no_negatives_counted(rows):
    """Catches a lse over nothing that makes the loss minus infinity."""
    views, seen = rows(3), torch.ones(3, SIZE, dtype=torch.bool)
    seen[2, 1:] = False
    output = MVDHEL(temperature=TAU)(views, visible=seen)
    output.loss.backward()
    assert int(output.terms["rows_without_negatives"]) == 1
    assert bool(output.loss.isfinite())


def test_cacr__two_views__attraction_is_alignment(rows):
    """Catches a softmax over the wrong positives: with one of them it must vanish."""
    views = rows()
    torch.testing.assert_close(CACR()(views).terms["attraction"], alignment(views))


def test_cacr__no_sharpness_and_bounds__plain_means(rows):
    """Catches t⁺ and t⁻ exchanged or of the wrong sign."""
    views = rows(3)
    flat, sharp = CACR(t_pos=0.0, t_neg=0.0)(views).terms, CACR(t_pos=3.0, t_neg=3.0)(views).terms
    unit = [F.normalize(view, dim=1) for view in views]
    rest = ~torch.eye(SIZE, dtype=torch.bool)
    apart = torch.stack([(2 - 2 * unit[v] @ unit[u].T)[rest].mean() for v, u in ((0, 1), (0, 2), (1, 2))]).mean()
    torch.testing.assert_close(flat["repulsion"], -apart)
    torch.testing.assert_close(flat["attraction"], alignment(views))
    assert float(sharp["attraction"]) > float(flat["attraction"])
    assert float(sharp["repulsion"]) > float(flat["repulsion"])  # weighted negatives are nearer


def test_cacr_momentum__one_query__scaled_oneway(rows):
    """Catches a forgotten factor 2T, or a gradient into the momentum key."""
    query, key = rows()
    output = CACRMomentum(temperature=TAU)([query], key=key)
    output.loss.backward()
    expected = 2 * TAU * InfoNCE(form="oneway", temperature=TAU)([query, key.detach()]).loss
    torch.testing.assert_close(output.loss, expected)
    assert key.grad is None
    mean = CACRMomentum(temperature=TAU, cost="euclidean", sum_batch=False)([query], key=key).loss
    total = CACRMomentum(temperature=TAU, cost="euclidean")([query], key=key).loss
    torch.testing.assert_close(total, SIZE * mean)


def test_cacr_queue__weights_constant__negatives_never_attracted(rows):
    """Catches a gradient through the queue form's weights, which would attract the farthest negatives."""
    query, key = rows()
    bank = F.normalize(torch.randn(9, DIM, dtype=torch.float64), dim=1)
    objective = CACR(queue_size=9, dim=DIM, t_neg=5.0).double().eval()
    objective.queue.push(bank)
    output = objective([query, 2 * query], keys=[key, key])
    output.loss.backward()
    unit = F.normalize(query.detach(), dim=1).requires_grad_()
    cosine = unit @ bank.T
    shares = torch.softmax(-5.0 * (2 - 2 * cosine), 1).detach()
    distance = 2 - 2 * (unit * F.normalize(key.detach(), dim=1)).sum(1)
    (distance.mean() - (shares * (2 - 2 * cosine)).sum(1).mean()).backward()
    tangent = unit.grad - (unit.grad * unit).sum(1, keepdim=True).detach() * unit.detach()
    torch.testing.assert_close(query.grad * query.detach().norm(dim=1, keepdim=True), tangent)
    assert key.grad is None


def test_clip__swapped_and_oneway__symmetric_mean(rows):
    """Catches one direction computed twice, and a temperature gradient that is not Σ S∘∂L/∂S."""
    image, text = rows()
    objective = CLIP(temperature=TAU)
    loss = objective([image, text]).loss
    torch.testing.assert_close(loss, objective([text, image]).loss)
    oneway = InfoNCE(form="oneway", temperature=TAU)
    torch.testing.assert_close(loss, (oneway([image, text]).loss + oneway([text, image]).loss) / 2, atol=1e-6, rtol=1e-6)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(objective([image, text[torch.arange(SIZE - 1, -1, -1)]]).loss, loss)
    similarity = (F.normalize(image, dim=1) @ F.normalize(text, dim=1).T).detach() / TAU
    logits = similarity.requires_grad_()
    target = torch.arange(SIZE)
    ((F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2).backward()
    for chunk in (0, 4):
        objective = CLIP(temperature=TAU, chunk_size=chunk)
        objective([image.detach(), text.detach()]).loss.backward()
        expected = (logits * logits.grad).sum().detach().float()
        torch.testing.assert_close(objective.temperature.log_scale.grad, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [0, 4])
@pytest.mark.parametrize("duplicates", ["mask", "positive", "ignore"])
def test_clip__equal_captions__masked_shared_or_ignored(duplicates, chunk, smoothing, rows):
    """Catches a caption that is its own twin's negative, and smoothing that spreads over masked columns."""
    image, text = (view.detach() for view in rows())
    captions = torch.tensor([7, 3, 7, 4, 4, 7])
    same = captions[:, None] == captions[None]
    itself = torch.eye(SIZE, dtype=torch.bool)
    kept = {"mask": ~same | itself, "positive": torch.ones_like(same), "ignore": torch.ones_like(same)}[duplicates]
    positives = same if duplicates == "positive" else itself
    target = (1 - smoothing) * positives / positives.sum(1, keepdim=True) + smoothing * kept / kept.sum(1, keepdim=True)
    similarity = F.normalize(image, dim=1) @ F.normalize(text, dim=1).T / TAU
    losses = []
    for logits in (similarity, similarity.T):
        logs = torch.log_softmax(logits.masked_fill(~kept, -torch.inf), 1)
        losses.append(-torch.where(kept, target * logs, 0.0).sum(1).mean())
    objective = CLIP(
        temperature=TAU, learn_temperature=False, label_smoothing=smoothing, duplicates=duplicates, chunk_size=chunk
    )
    torch.testing.assert_close(objective([image, text], captions=captions).loss, (losses[0] + losses[1]) / 2)


def test_infonce_queue__empty__zero(rows):
    """Catches zero rows of a queue that has not been filled yet taking part as negatives."""
    objective = InfoNCE(form="queue", queue_size=16, dim=DIM)
    first = objective(rows()).loss
    assert float(first) == 0
    assert float(objective(rows(seed=1)).loss) > 0
    assert len(objective.queue.filled()) == 2 * SIZE
    assert float(InfoNCE(form="queue", queue_size=0, dim=DIM)(rows()).loss) == 0


@pytest.mark.parametrize("chunk", [0, 4])
def test_infonce_multi_positive__labels__supcon(chunk, rows):
    """Catches a row that is its own positive, and rows without a positive that drag the mean."""
    view = rows(1)[0]
    labels = torch.tensor([0, 1, 0, 2, 1, 0])
    unit = F.normalize(view, dim=1)
    logits = unit @ unit.T / TAU
    out, inner = [], []
    for i in range(SIZE):
        others = [j for j in range(SIZE) if j != i]
        positives = [j for j in others if labels[j] == labels[i]]
        if positives:
            lse = torch.logsumexp(logits[i, others], 0)
            out.append(lse - logits[i, positives].mean())
            inner.append(lse - torch.logsumexp(logits[i, positives], 0))
    for form, expected in (("out", out), ("in", inner)):
        objective = InfoNCE(form="multi_positive", positives=form, temperature=TAU, chunk_size=chunk)
        output = objective([view], labels=labels)
        torch.testing.assert_close(output.loss, torch.stack(expected).mean())
        assert int(output.terms["rows_without_positives"]) == 1


def test_infonce_multi_positive__one_each__oneway(rows):
    """Catches positives counted from the wrong axis."""
    views = rows()
    several = InfoNCE(form="multi_positive", temperature=TAU)(views, pos=torch.eye(SIZE, dtype=torch.bool)).loss
    torch.testing.assert_close(several, InfoNCE(form="oneway", temperature=TAU)(views).loss)


def test_masks__all_negatives_of_a_row__zero_or_left_out(rows):
    """Catches lse of nothing in DCL (minus infinity), and an InfoNCE row that is not 0 without negatives."""
    views, mask = rows(), torch.ones(SIZE, SIZE, dtype=torch.bool)
    mask[1] = False
    mask[1, 1] = True
    one = torch.zeros(SIZE)
    one[1] = 1
    assert abs(float(InfoNCE(temperature=TAU)(views, mask=mask, weights=one).loss)) < 1e-12
    for chunk in (0, 4):
        output = DCL(temperature=TAU, chunk_size=chunk)(views, mask=mask)
        rest = DCL(temperature=TAU)(views, weights=1 - one).loss
        assert int(output.terms["rows_without_negatives"]) == 2
        torch.testing.assert_close(output.loss, rest)
        output.loss.backward()
        assert all(bool(view.grad.isfinite().all()) for view in views)


@given(st.integers(1, 9), st.integers(2, 7), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_sinkhorn__any_scores__rows_sum_to_one_and_prototype_offsets_vanish(samples, prototypes, seed):
    """Catches a normalisation over the wrong axis, for fewer and for more samples than prototypes."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(samples, prototypes, generator=generator, dtype=torch.float64) * 2 - 1
    assigned = sinkhorn(scores, 0.05, 3)
    torch.testing.assert_close(assigned.sum(1), torch.ones(samples, dtype=torch.float64))
    offset = torch.rand(1, prototypes, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores + offset, 0.05, 3), assigned, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(sinkhorn(scores, 1e9, 3), torch.full_like(scores, 1 / prototypes), rtol=1e-6, atol=1e-6)
    balanced = sinkhorn(scores, 0.5, 300).sum(0)
    torch.testing.assert_close(balanced, torch.full_like(balanced, samples / prototypes), rtol=1e-6, atol=1e-6)


def test_swav__assigning_crop__no_gradient_through_its_assignment(rows):
    """Catches a gradient through Sinkhorn: a crop that only assigns must not move."""
    first, second = rows()
    output = swav(assigning=1)([first, second])
    output.loss.backward()
    assert first.grad is None
    assert float(second.grad.abs().sum()) > 0
    assert float(output.loss) >= float(output.terms["assignment_entropy"])


def test_swav__first_steps__prototypes_frozen_then_free(rows):
    """Catches a freeze that never ends, or one that leaves no gradient (DistributedDataParallel would stop)."""
    objective = swav(freeze_steps=3)
    for step, moves in ((0, False), (2, False), (3, True)):
        objective.zero_grad()
        objective.begin_step(step)
        objective(rows()).loss.backward()
        assert (float(objective.prototypes.grad.abs().sum()) > 0) == moves


def test_swav__queue__waits_until_it_is_full_and_its_step_has_come(rows):
    """Catches a queue of zeros in the assignment (uniform rows), and one that fills before its time."""
    torch.manual_seed(0)
    plain, queued = swav(), swav(queue_size=2 * SIZE, queue_start=1)
    for step in range(4):
        views = rows(seed=step)
        queued.begin_step(step)
        with_queue, without = queued(views).loss, plain(views).loss
        assert (abs(float(with_queue - without)) < 1e-12) == (step < 3)
