"""MinVIS from an official configuration and official keys, against the reference: keys, outputs, one training step."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dense import build_model, load_checkpoint
from dense.modeling.meta_archs import ImageSegmenter
from dense.projects.dvis import VideoSegmenter

pytestmark = pytest.mark.golden


def test_minvis__official_names__build_our_parts(minvis):
    """Catches official part names that are not translated."""
    assert isinstance(minvis, VideoSegmenter)
    assert not isinstance(minvis, ImageSegmenter)


def test_minvis__state_dict__has_the_official_keys_and_shapes(minvis, manifest):
    """Catches a key or shape that differs, in either direction: official checkpoints would not fit."""
    own = {k: list(v.shape) for k, v in minvis.state_dict().items()}
    assert own == manifest
    assert len(own) == 558


@pytest.mark.parametrize(("call", "frames"), [(0, slice(0, 3)), (1, slice(3, 4))])
def test_minvis__segmenter__equals_reference(golden, parity, minvis, call, frames):
    """Catches any difference of the segmenter on frames, before thresholds; both windows."""
    arrays = parity.Arrays(golden("dvis/minvis_ytvis19.npz"))
    clip = list(arrays.tensor("frames")[frames])
    with torch.no_grad():
        output = minvis.sem_seg_head(minvis.backbone(minvis.preprocessor(clip).tensor))
    name = f"segmenter.call{call}"
    assert arrays.distance(f"{name}.pred_logits", output.final.logits[None]) < 1e-4
    assert arrays.distance(f"{name}.pred_masks", output.final.masks.permute(2, 1, 0, 3, 4).contiguous()) < 1e-4
    assert arrays.distance(f"{name}.pred_embds", output.embeddings.permute(2, 0, 1)[None].contiguous()) < 1e-4


def test_minvis__video__equals_reference(golden, parity, minvis):
    """Catches a wrong order of queries, logits of one frame instead of the mean, another number of objects, mask sizes."""
    arrays = parity.Arrays(golden("dvis/minvis_ytvis19.npz"))
    (result,) = minvis([{"image": list(arrays.tensor("frames")), "height": 96, "width": 160}])
    order = np.argsort(-np.array(result["pred_scores"]), kind="stable")
    theirs = np.argsort(-arrays["result.pred_scores"], kind="stable")
    assert tuple(result["image_size"]) == tuple(arrays["result.image_size"])
    assert np.array(result["pred_scores"])[order] == pytest.approx(arrays["result.pred_scores"][theirs], abs=1e-4)
    assert np.array(result["pred_labels"])[order].tolist() == arrays["result.pred_labels"][theirs].tolist()
    masks = torch.stack(result["pred_masks"]).numpy()[order]
    expected = arrays.packed("result.pred_masks")[theirs]
    assert (masks != expected).sum() <= expected.size / 10_000


def test_minvis__one_training_step__losses_and_gradients_equal_reference(golden, parity, official_config):
    """Catches wrong losses, targets and gradients: the gradient norm of each of the 345 trainable parameters is compared."""
    arrays = parity.Arrays(golden("train_step.npz"), "minvis.")
    options = dict(zip(arrays["options"][::2].tolist(), arrays["options"][1::2].tolist(), strict=True))
    model = build_model(official_config(*[part for pair in options.items() for part in pair])).train()
    weight = model.criterion.empty_weight.clone()
    load_checkpoint(model, parity.state_dict({k: tuple(v.shape) for k, v in model.state_dict().items()}), strict=True)
    model.criterion.empty_weight.copy_(weight)  # the reference kept its own
    points, start, draws = arrays.tensor("points").to(torch.float64) / 2**24, 0, []
    for shape in arrays["points_shapes"].tolist():
        count = shape[0] * shape[1]
        draws.append(points[start : start + count].reshape(shape).float())
        start += count
    model.criterion.draw = model.criterion.matcher.draw = parity.Replay(draws)
    masks = np.unpackbits(arrays["masks"])[: arrays["masks.shape"].prod()].reshape(arrays["masks.shape"]).astype(bool)
    frames = [
        SimpleNamespace(
            labels=torch.where(arrays.tensor("ids")[:, t] == -1, -1, arrays.tensor("classes")),
            ids=arrays.tensor("ids")[:, t],
            masks=torch.from_numpy(masks[:, t]),
        )
        for t in range(masks.shape[1])
    ]
    losses = model([{"image": list(arrays.tensor("frames")), "instances": frames}])
    assert not model.criterion.draw.left
    assert sorted(losses) == sorted(arrays["loss_names"].tolist())
    for name, value in zip(arrays["loss_names"].tolist(), arrays["losses"].tolist(), strict=True):
        assert losses[name].item() == pytest.approx(value, rel=1e-4), name
    torch.stack(list(losses.values())).sum().backward()
    own = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sorted(own) == sorted(arrays["grad_names"].tolist())
    greatest = arrays["grad_norms"].max()
    for name, value in zip(arrays["grad_names"].tolist(), arrays["grad_norms"].tolist(), strict=True):
        norm = own[name].grad.norm().item()
        assert norm == pytest.approx(value, rel=1e-3, abs=1e-6 * greatest), name
