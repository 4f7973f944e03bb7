"""Video segmenter with made-up segmenter outputs: association over time, windows, errors, training targets."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dense import build_model, load_config
from dense.errors import ConfigError, DataError, NonFiniteError
from dense.modeling.predictions import DecoderOutput, MaskPrediction
from dense.modeling.preprocess import Preprocessor
from dense.projects.dvis import VideoSegmenter
from dense.projects.dvis.association import FrameAssociation
from dense.projects.dvis.results import InstanceResults

QUERIES, CLASSES = 6, 3


class Scripted(nn.Module):
    """A head that finds each frame's number in its first pixel and answers with that frame's stored outputs."""

    def __init__(self, embeddings, logits, masks):
        super().__init__()
        self.embeddings, self.logits, self.masks = embeddings, logits, masks

    def forward(self, images):
        index = images[:, 0, 0, 0].round().long()
        embeddings = self.embeddings[index]
        prediction = MaskPrediction(self.logits[index], self.masks[index][:, :, None])
        return DecoderOutput([prediction], embeddings, embeddings, torch.zeros(len(index), 1, 8, 8))


def scripted(frames, window=2, whole_video=False, seed=0):
    """Model, frames, and the permutation by which each frame's queries were shuffled."""
    torch.manual_seed(seed)
    base = torch.randn(QUERIES, 16)
    shuffles = [torch.arange(QUERIES), *[torch.randperm(QUERIES) for _ in range(frames - 1)]]
    embeddings = torch.stack([(base + 0.05 * torch.randn(QUERIES, 16))[s] for s in shuffles])
    logits = torch.stack([torch.randn(QUERIES, CLASSES + 1)[s] for s in shuffles])
    masks = torch.stack([torch.randn(QUERIES, 8, 8)[s] for s in shuffles])
    model = VideoSegmenter(
        backbone=nn.Identity(),
        sem_seg_head=Scripted(embeddings, logits, masks),
        criterion=nn.Identity(),
        preprocessor=Preprocessor([0.0] * 3, [1.0] * 3, 32),
        association=FrameAssociation(),
        window=window,
        whole_video=whole_video,
        results=InstanceResults(max_objects=4),
    ).eval()
    return model, [torch.full((3, 30, 28), float(t)) for t in range(frames)], shuffles


def test_step__shuffled_queries__come_back_in_the_first_frames_order():
    """Catches masks or logits that do not follow the association, and an order composed the wrong way over several frames."""
    model, frames, shuffles = scripted(5)
    window, state = model.step(frames, model.start())
    head = model.sem_seg_head
    undo = [torch.argsort(s) for s in shuffles]
    masks = torch.stack([head.masks[t][undo[t]] for t in range(5)], dim=1)
    assert torch.equal(window.masks, masks)
    logits = torch.stack([head.logits[t][undo[t]] for t in range(5)])
    assert torch.allclose(window.logits[-1], logits.mean(0), atol=1e-6)
    assert torch.allclose(window.logits[1], logits[:2].mean(0), atol=1e-6)
    assert torch.equal(state.memory.reference, head.embeddings[4][undo[4]])
    assert state.frames == 5
    assert (window.padded, window.unpadded) == ((32, 32), (30, 28))


@pytest.mark.golden
def test_step__reference_outputs__associated_as_the_reference(golden, parity):
    """Catches an association that uses another similarity, or logits and masks permuted otherwise, on stored outputs."""
    arrays = parity.Arrays(golden("dvis_parts.npz"), "minvis_post.")
    model, frames, _ = scripted(4)
    model.sem_seg_head = Scripted(
        arrays.tensor("in.pred_embds")[0].permute(1, 2, 0),
        arrays.tensor("in.pred_logits")[0],
        arrays.tensor("in.pred_masks")[0].transpose(0, 1),
    )
    window, _ = model.step(frames, model.start())
    assert arrays.distance("pred_logits", window.logits[-1:]) < 1e-5
    assert arrays.distance("pred_masks", window.masks[None]) == 0


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_step__window_by_window__equals_the_whole_clip(window):
    """Catches a state that forgets the last frame, the sum of logits or the number of frames."""
    model, frames, _ = scripted(7)
    whole, _ = model.step(frames, model.start())
    state, masks, logits = model.start(), [], []
    for first in range(0, 7, window):
        before = state
        part, state = model.step(frames[first : first + window], state)
        assert before.frames == first  # the given state is not changed
        masks.append(part.masks)
        logits.append(part.logits)
    assert torch.equal(torch.cat(masks, 1), whole.masks)
    assert torch.allclose(torch.cat(logits), whole.logits, atol=1e-6)


@pytest.mark.parametrize("whole_video", [False, True])
def test_forward__whole_or_windows__same_result(whole_video):
    """Catches a result that depends on the size of the window, and videos of a batch that share a state."""
    model, frames, _ = scripted(5, window=2, whole_video=whole_video)
    reference, _, _ = scripted(5, window=5)
    batch = [{"image": frames, "height": 60, "width": 56}, {"image": frames[:3]}]
    for ours, theirs in zip(model(batch), reference(batch), strict=True):
        assert ours["pred_scores"] == pytest.approx(theirs["pred_scores"])
        assert ours["pred_labels"] == theirs["pred_labels"]
        assert torch.equal(torch.stack(ours["pred_masks"]), torch.stack(theirs["pred_masks"]))
    assert len(model(batch)[0]["pred_scores"]) == 4
    assert model(batch)[0]["pred_masks"][0].shape == (5, 60, 56)
    assert model(batch)[1]["pred_masks"][0].shape == (3, 30, 28)


def test_step__outputs_not_finite__raise():
    """Catches NaN embeddings that would order queries at random."""
    model, frames, _ = scripted(3)
    model.sem_seg_head.embeddings[1, 2] = torch.nan
    with pytest.raises(NonFiniteError):
        model.step(frames, model.start())


@pytest.fixture(scope="module")
def tiny(root):
    options = ["MODEL.TIMM.WEIGHTS", "", "MODEL.MASK_FORMER.DEC_LAYERS", 2, "MODEL.MASK_FORMER.TRAIN_NUM_POINTS", 16]
    options += ["MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", 5, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 3]
    return build_model(load_config(root / "configs/world/minvis_lite0.yaml", options)).train()


def record(labels, ids, frames=2):
    """A clip of made-up frames."""
    labels, ids = torch.tensor(labels), torch.tensor(ids)
    instances = [
        SimpleNamespace(
            labels=torch.where(ids[:, t] == -1, -1, labels), ids=ids[:, t], masks=torch.rand(len(labels), 32, 40) < 0.5
        )
        for t in range(frames)
    ]
    return {"image": [torch.rand(3, 32, 40) * 255 for _ in range(frames)], "instances": instances}


def test_training__clips_of_two_frames__targets_frame_by_frame(tiny, monkeypatch):
    """Catches frames of several videos in another order than their images, and objects dropped where they are absent."""
    seen = {}
    monkeypatch.setattr(tiny.criterion, "forward", lambda predictions, targets: seen.update(p=predictions, t=targets) or {})
    tiny([record([1, 2], [[4, 4], [-1, 6]]), record([0], [[9, 9]])])
    assert seen["p"][-1].logits.shape == (4, 5, 4)
    assert [t.labels.tolist() for t in seen["t"]] == [[1, 2], [1, 2], [0], [0]]
    assert [t.ids.flatten().tolist() for t in seen["t"]] == [[4, -1], [4, 6], [9], [9]]
    assert all(t.masks.shape[1:] == (1, 32, 64) for t in seen["t"])


def test_training__no_objects__finite_losses_with_gradients(tiny):
    """Catches NaN or missing gradients when no frame of the batch has an object; case match-no-objects."""
    tiny.zero_grad()
    clip = record([1], [[-1, -1]])
    losses = tiny([clip])
    assert all(torch.isfinite(v) for v in losses.values())
    assert [v.item() for k, v in losses.items() if k.startswith(("loss_mask", "loss_dice"))] == [0.0] * 4
    torch.stack(list(losses.values())).sum().backward()
    assert [n for n, p in tiny.named_parameters() if p.requires_grad and p.grad is None] == []


def test_training__label_out_of_range__raises(tiny):
    """Catches a data set with more categories than the model has classes."""
    with pytest.raises(DataError, match=r"labels: \[3\], expected 0 to 2"):
        tiny([record([3], [[1, 1]])])


def test_training__outputs_not_finite__raise(tiny):
    """Catches NaN weights that the solver would meet as a foreign error."""
    weight = tiny.sem_seg_head.predictor.class_embed.weight
    kept = weight.detach().clone()
    weight.data[0, 0] = torch.nan
    try:
        with pytest.raises(NonFiniteError, match="not finite"):
            tiny([record([1], [[1, 1]])])
    finally:
        weight.data.copy_(kept)


def test_from_config__unknown_task__raises(root):
    """Catches a task that nobody knows, taken for another."""
    cfg = load_config(
        root / "configs/dvis/ytvis19/minvis_r50.yaml", ["MODEL.MASK_FORMER.TEST.TASK", "vos", "MODEL.DEVICE", "meta"]
    )
    with torch.device("meta"), pytest.raises(ConfigError, match="TASK: unknown 'vos'"):
        build_model(cfg)


def test_step__presence_threshold__empties_the_masks_of_absent_queries_only():
    """Catches a gate that looks at the video's logits instead of the frame's, or that follows another order than the masks."""
    model, frames, _ = scripted(4)
    open_window, _ = model.step(frames, model.start())
    model.presence_threshold = 0.7
    window, _ = model.step(frames, model.start())
    assert torch.equal(window.logits, open_window.logits)
    memory, seen = None, []
    for t in range(4):
        logits = model.sem_seg_head.logits[t]
        order, memory = model.association(model.sem_seg_head.embeddings[t], logits, memory)
        present = 1 - logits[order].softmax(-1)[:, -1] >= 0.7
        assert torch.equal(window.masks[present, t], open_window.masks[present, t])
        assert (window.masks[~present, t] == -1e4).all()
        seen += [bool(x) for x in present]
    assert 0 < sum(seen) < len(seen)
