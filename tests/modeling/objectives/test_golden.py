"""Every objective against the golden arrays: loss, gradients and parts; float64 and float32, dense and in blocks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dense.modeling.objectives.cacr import CACR, CACRMomentum
from dense.modeling.objectives.clip import CLIP
from dense.modeling.objectives.dcl import DCL, DCLW
from dense.modeling.objectives.infonce import InfoNCE
from dense.modeling.objectives.multiview import MVDHEL, MVInfoNCE
from dense.modeling.objectives.negclip import DeGLA, NegCLIP
from dense.modeling.objectives.sinkhorn import sinkhorn
from dense.modeling.objectives.swav import SwAV

pytestmark = pytest.mark.golden

CHUNKS = (0, 1, 3, 6, 12, 13, 19, 24, 31)  # with N = 6, 12 or 24 columns: 1, 3, N, N + 7


def pair(inputs):
    return [inputs["x1"], inputs["x2"]]


def many(inputs):
    return [inputs[f"x{v}"] for v in range(sum(f"x{v}" in inputs for v in range(9)))]


def infonce(form):
    return lambda case, chunk: InfoNCE(form=form, temperature=case.const("tau"), chunk_size=chunk, dim=8, queue_size=10)


def dcl(case, chunk):
    return DCL(temperature=case.const("tau"), directions="sum", chunk_size=chunk)


def dclw(case, chunk):
    detach = "const.detach" in case.arrays
    sigma = case.const("sigma")
    return DCLW(temperature=case.const("tau"), sigma=sigma, detach_weight=detach, directions="sum", chunk_size=chunk)


def multiview(kind, **extra):
    return lambda case, chunk: kind(temperature=case.const("tau"), chunk_size=chunk, **extra)


def cacr(case, chunk):
    given = {name: case.const(name) for name in ("alpha", "beta", "t_pos", "t_neg")}
    return CACR(**given, detach_weights="const.detach" in case.arrays, chunk_size=chunk)


def cacr_momentum(case, chunk):
    return CACRMomentum(cost=case.const("cost"), temperature=case.const("T_"), chunk_size=chunk)


def clip(case, chunk):
    smoothing = case.const("eps") if "const.eps" in case.arrays else 0.0
    return CLIP(label_smoothing=smoothing, temperature=0.1, chunk_size=chunk)


def image_text(inputs):
    """Both views; what else the case has, three false captions to one, becomes further inputs of the objective."""
    size = len(inputs["image"])
    for name in ("neg_text", "t_neg"):
        if name in inputs:
            inputs[f"{name} by caption"] = inputs[name].unflatten(0, (size, -1))
    return [inputs["image"], inputs["text"]]


def negclip(case, chunk):
    return NegCLIP(temperature=0.1, chunk_size=chunk)


def degla(case, chunk):
    weights = (case.const("w_igc"), case.const("w_tgc"), case.const("w_dist"))
    names = dict(zip(("image_weight", "text_weight", "distill_weight"), weights, strict=True))
    layout, scale = case.const("tgc_layout"), case.const("tgc_scale")
    return DeGLA(temperature=0.1, layout=layout, text_scale=scale, chunk_size=chunk, **names)


TEACHER = {
    "hard": "neg_text by caption",
    "teacher_image": "t_image",
    "teacher_text": "t_text",
    "teacher_hard": "t_neg by caption",
}

RUNS = {
    "ntxent_t0.1": (infonce("ntxent"), pair, {}),
    "ntxent_t0.5": (infonce("ntxent"), pair, {}),
    "ntxent_weighted": (infonce("ntxent"), pair, {"weights": "w"}),
    "infonce_oneway": (infonce("oneway"), lambda i: [i["q"], i["k"]], {}),
    "infonce_masked": (infonce("oneway"), lambda i: [i["q"], i["k"]], {"mask": "keep"}),
    "infonce_queue": (infonce("queue"), lambda i: [i["q"], i["k"]], {}),
    "dcl": (dcl, pair, {}),
    "dcl_t0.5": (dcl, pair, {}),
    "dclw": (dclw, pair, {}),
    "dclw_detached_weight": (dclw, pair, {}),
    **{f"mv_infonce_{end}": (multiview(MVInfoNCE), many, {}) for end in ("t0.1", "t0.5", "2views")},
    **{f"mv_dhel_{end}": (multiview(MVDHEL), many, {}) for end in ("t0.1", "t0.5", "2views")},
    "mv_infonce_cross_energy": (multiview(MVInfoNCE, energy="cross"), many, {}),
    "mv_infonce_visible": (multiview(MVInfoNCE), many, {"visible": "vis"}),
    "mv_dhel_visible": (multiview(MVDHEL), many, {"visible": "vis"}),
    **{name: (cacr, many, {}) for name in ("cacr", "cacr_other_temps", "cacr_2views", "cacr_detached_weights")},
    **{f"cacr_momentum_{cost}": (cacr_momentum, many, {"key": "k"}) for cost in ("rbf", "euclidean")},
    "clip": (clip, lambda i: [i["image"], i["text"]], {}),
    "align_label_smoothing": (clip, lambda i: [i["image"], i["text"]], {}),
    "negclip": (negclip, image_text, {"hard": "neg_text by caption"}),
    **{f"degla_tgc_{layout}": (degla, image_text, TEACHER) for layout in ("own", "published")},
}


def close(found, expected, tolerance):
    """|difference| <= tolerance * max(1, |value|), elementwise."""
    found = found.detach().double().numpy() if isinstance(found, torch.Tensor) else found
    assert np.all(np.abs(found - expected) <= tolerance * np.maximum(1, np.abs(expected)))


def run(case, chunk=0, dtype=torch.float64):
    make, views_of, roles = RUNS[case.name]
    objective, inputs = make(case, chunk).to(dtype), case.inputs(dtype)
    if "queue" in inputs:
        objective.queue.push(F.normalize(inputs["queue"], dim=-1))
    if "log_scale" in inputs:
        objective.temperature.log_scale = torch.nn.Parameter(inputs["log_scale"].detach().clone())
    views = views_of(inputs)
    output = objective(views, **{role: inputs[name] for role, name in roles.items()})
    output.loss.backward()
    if "log_scale" in inputs:
        inputs["log_scale"].grad = objective.temperature.log_scale.grad
    return output, inputs


@pytest.mark.parametrize("name", RUNS)
def test_objective__golden_case__loss_and_gradients_in_blocks_of_any_size(case, name):
    """Catches a wrong formula, reduction or stop of the gradient, and blocks that forget a column, a mask or the rescaling."""
    golden = case(name)
    for chunk in CHUNKS:
        output, inputs = run(golden, chunk)
        close(output.loss, golden["loss"], 1e-9)
        for key in golden.arrays:
            if key.startswith("grad."):
                close(inputs[key[5:]].grad, golden[key], 1e-8)


@pytest.mark.parametrize("name", RUNS)
def test_objective__float32__within_the_readme_tolerance(case, name):
    """Catches sums outside log-sum-exp, which lose digits first in float32."""
    golden = case(name)
    for chunk in (0, 5):
        output, inputs = run(golden, chunk, torch.float32)
        assert output.loss.dtype == torch.float32
        close(output.loss, golden["loss"], 1e-5)
        for key in golden.arrays:
            if key.startswith("grad."):
                close(inputs[key[5:]].grad, golden[key], 1e-4)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("dclw", {"first_to_second": "dir12", "second_to_first": "dir21"}),
        ("cacr", {"attraction": "attraction", "repulsion": "repulsion"}),
        ("clip", {"image_to_text": "image_to_text", "text_to_image": "text_to_image"}),
        ("align_label_smoothing", {"image_to_text": "image_to_text", "text_to_image": "text_to_image"}),
        ("negclip", {"image_to_text": "image_to_text", "text_to_image": "text_to_image"}),
        ("degla_tgc_own", {"image_grounded": "igc", "text_grounded": "tgc", "distill": "distill"}),
        ("degla_tgc_published", {"image_grounded": "igc", "text_grounded": "tgc", "distill": "distill"}),
    ],
)
def test_objective__named_parts__golden(case, name, terms):
    """Catches parts under the wrong name, or reported after their weight."""
    golden = case(name)
    output, _ = run(golden)
    for term, aux in terms.items():
        close(output.terms[term], golden[f"aux.{aux}"], 1e-9)


def test_dcl__mean_of_directions__half_the_published_sum(case):
    """Catches the default taken for the published form, which doubles the learning rate."""
    golden = case("dcl")
    loss = DCL(temperature=golden.const("tau"))(pair(golden.inputs())).loss
    close(loss, golden["aux.mean_of_directions"], 1e-9)


def test_pairwise_ntxent__mean_over_pairs__golden(case, ntxent):
    """Catches an NT-Xent that is right for one pair of arrays only."""
    golden = case("pairwise_ntxent")
    views = many(golden.inputs())
    objective = ntxent(golden.const("tau"))
    losses = [objective([views[a], views[b]]).loss for a in range(4) for b in range(a + 1, 4)]
    torch.stack(losses).mean().backward()
    close(torch.stack(losses).mean(), golden["loss"], 1e-9)
    for v in range(4):
        close(views[v].grad, golden[f"grad.x{v}"], 1e-8)


def test_sinkhorn__golden_scores__every_number_of_iterations(case):
    """Catches row and column steps in the wrong order, and a forgotten factor N."""
    golden = case("sinkhorn")
    scores = torch.from_numpy(golden["in.scores"])
    for iterations in (0, 1, 3, 10, 200):
        close(sinkhorn(scores, golden.const("eps"), iterations), golden[f"q_iters{iterations}"], 1e-9)


@pytest.mark.parametrize("name", ["swav_2crops", "swav_multicrop", "swav_queue"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_swav__golden_case__loss_and_gradients(case, name, dtype):
    """Catches a gradient through the assignment, a crop compared with itself, and queue rows scored in the wrong place."""
    golden, exact = case(name), dtype == torch.float64
    inputs = golden.inputs(dtype)
    size = golden["in.queue"].shape[1] if "queue" in inputs else 0
    objective = SwAV(
        prototypes=5,
        dim=8,
        epsilon=golden.const("eps"),
        iterations=golden.const("iters"),
        assigning=golden.const("n_assign"),
        temperature=golden.const("tau"),
        queue_size=size,
    ).to(dtype)
    objective.prototypes.data.copy_(inputs["proto"].detach())
    if size:
        objective.queue.push(F.normalize(inputs["queue"], dim=-1))
    crops = many(inputs)
    output = objective(crops)
    output.loss.backward()
    close(output.loss, golden["loss"], 1e-9 if exact else 1e-5)
    close(objective.prototypes.grad, golden["grad.proto"], 1e-8 if exact else 1e-4)
    for v, crop in enumerate(crops):
        close(crop.grad, golden[f"grad.x{v}"], 1e-8 if exact else 1e-4)
