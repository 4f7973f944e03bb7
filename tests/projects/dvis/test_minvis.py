"""MinVIS from an official configuration and official keys, against the reference: keys, outputs, one training step."""

import numpy as np
import pytest
import torch

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
