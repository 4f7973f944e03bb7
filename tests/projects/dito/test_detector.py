"""The detector at its edges, in training and inference, built from the world's configuration."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dense import ImagePredictor, load_checkpoint, load_config
from dense.data.mappers import DetectionTargets
from dense.engine.optimizers import build_optimizer
from dense.engine.schedules import build_schedule
from dense.errors import ConfigError, DataError
from dense.modeling import build_model

WORLD = "configs/dito/world_detector.yaml"
SMALL = ["MODEL.DITO.CANVAS.SIDE", 128, "MODEL.DITO.PROPOSALS.BEFORE", 40, "MODEL.DITO.PROPOSALS.AFTER", 20]
SMALL += ["MODEL.DITO.REGIONS.SAMPLES", 16, "MODEL.DITO.TEST.DETECTIONS", 10]
SMALL += ["MODEL.DITO.NUM_CLASSES", 14, "MODEL.DITO.TEXT.TOKENIZER", ""]  # embeddings instead of text
WIDTH = 192


def build(*options):
    """With random weights; proposals are the anchors, as those of new weights are too small to be seen."""
    torch.manual_seed(0)
    model = build_model(load_config(WORLD, [*SMALL, *options]))
    torch.nn.init.constant_(model.proposal_head.distances.bias, 0.5)
    return model


def words(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count + 1, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def detector():
    model = build()
    model.set_vocabulary(words(14), training=True)
    return model


def targets(masks: bool = True) -> DetectionTargets:
    """Two objects in a picture of 64 x 80 pixels."""
    boxes = torch.tensor([[4.0, 4, 36, 30], [40.0, 20, 70, 60]])
    inside = torch.zeros(2, 64, 80, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(inside, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    return DetectionTargets((64, 80), boxes, torch.tensor([3, 0]), inside if masks else None)


def nothing() -> DetectionTargets:
    return DetectionTargets((64, 80), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 64, 80).bool())


def batch(*instances: DetectionTargets) -> list[dict]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (3, 64, 80), generator=generator, dtype=torch.uint8)
    return [{"image": image, "instances": each, "height": 64, "width": 80, "file_name": "a"} for each in instances]


def test_training__ordinary_and_empty_picture__all_parts_have_a_gradient(detector):
    """Catches a part that no loss reaches, and a frozen one that one reaches; a picture without objects must not disturb."""
    detector.train().zero_grad()
    losses = detector(batch(targets(), nothing()))
    assert set(losses) == {"loss_objectness", "loss_proposal_box", "loss_class", "loss_box", "loss_mask"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    without = {n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None}
    assert not without
    assert detector.backbone.pos_embed.grad.any()
    assert detector.temperature.grad.any()
    assert not any(p.requires_grad for p in detector.frozen_backbone.parameters())
    assert not detector.frozen_backbone.training


def test_training__no_objects__box_and_mask_losses_zero_total_finite(detector):
    """Catches 0 / 0, and parts without a gradient that other processes would wait for (acceptance check 10)."""
    detector.train().zero_grad()
    losses = detector(batch(nothing(), nothing()))
    assert losses["loss_box"].item() == losses["loss_mask"].item() == losses["loss_proposal_box"].item() == 0
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    assert not {n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None}


def test_training__absent_rows__are_masked_with_their_objects():
    """Catches held-out categories that are learnt: by their objects, or as negatives of the softmax."""
    model = build()
    rows = words(14)
    is_base = torch.tensor([True] * 3 + [False] * 11)  # class 3 is held out, class 0 is not
    model.set_vocabulary(rows, is_base, training=True)
    found = []
    for changed in (False, True):
        if changed:
            rows = rows.clone()
            rows[4:] = words(14, 5)[4:]
            model.set_vocabulary(rows, is_base, training=True)
        torch.manual_seed(3)
        found.append({k: v.item() for k, v in model(batch(targets())).items()})
    assert found[0] == found[1]  # what the absent rows hold has no effect
    torch.manual_seed(3)
    base = targets()
    only = DetectionTargets(base.size, base.boxes[1:], base.labels[1:], base.masks[1:])
    assert {k: v.item() for k, v in model(batch(only)).items()} == pytest.approx(found[0])
    keeping = build("MODEL.DITO.VOCABULARY.ABSENT_ROWS", "keep")
    keeping.set_vocabulary(rows, is_base, training=True)
    torch.manual_seed(3)
    assert keeping(batch(targets()))["loss_class"].item() != pytest.approx(found[0]["loss_class"])


def test_training__distillation__pulls_the_trainable_to_the_frozen():
    """Catches a term that is always zero, or that teaches the teacher (spec, section 8)."""
    model = build("MODEL.DITO.DISTILLATION.WEIGHT", 2.0)
    model.set_vocabulary(words(14), training=True)
    with torch.no_grad():
        model.frozen_backbone.load_state_dict(model.backbone.state_dict())
    model.frozen_backbone.windows, model.frozen_backbone.shift = model.backbone.windows, model.backbone.shift
    assert model(batch(targets()))["loss_distillation"].item() == pytest.approx(0, abs=1e-4)
    with torch.no_grad():
        model.backbone.norm.bias.normal_()
    loss = model(batch(targets()))["loss_distillation"]
    assert 0 < loss.item() <= 4
    loss.backward()
    assert model.backbone.norm.bias.grad.any()
    assert all(p.grad is None for p in model.frozen_backbone.parameters())
    assert model(batch(nothing()))["loss_distillation"].item() == 0


@pytest.mark.parametrize("count", [0, 1, 14, 1500])
def test_inference__any_number_of_words__runs(detector, count):
    """Catches a number of classes that is built in, and a crash on none (acceptance check 10)."""
    detector.eval().set_vocabulary(words(count))
    (found,) = detector(batch(nothing()))
    instances = found["instances"]
    assert instances.image_size == (64, 80)
    assert len(instances) == (0 if count == 0 else len(instances.pred_masks))
    if count:
        assert 0 < len(instances) <= 10
        assert instances.pred_classes.max() < count
        assert instances.pred_masks.shape[1:] == (64, 80)
        assert (instances.scores.diff() <= 0).all()
        assert instances.pred_boxes.tensor.max() <= 80


def test_inference__scaled_class_weights__same_scores(detector):
    """Catches an embedding whose length counts (acceptance check 6)."""
    detector.eval().set_vocabulary(words(5))
    before = detector(batch(nothing()))[0]["instances"].scores
    with torch.no_grad():
        detector.box_head.embed.weight *= 37
        after = detector(batch(nothing()))[0]["instances"].scores
        detector.box_head.embed.weight /= 37
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-6)


def test_inference__source__none_reads_no_other_map_and_trainable_no_second_transformer():
    """Catches switches without effect: a file without the frozen transformer must do for both."""
    scores = {}
    for source in ("none", "trainable", "frozen"):
        model = build("MODEL.DITO.FUSION.SOURCE", source).eval()
        assert (model.frozen_backbone is not None) == (source == "frozen")
        model.set_vocabulary(words(5))
        scores[source] = model(batch(nothing()))[0]["instances"].scores
    assert not torch.equal(scores["none"], scores["trainable"])
    exponents = ["MODEL.DITO.FUSION.BASE", 0.0, "MODEL.DITO.FUSION.NOVEL", 0.0]
    model = build("MODEL.DITO.FUSION.SOURCE", "trainable", *exponents).eval()
    model.set_vocabulary(words(5))
    torch.testing.assert_close(model(batch(nothing()))[0]["instances"].scores, scores["none"])


def test_inference__base_marks__change_scores_only_with_the_indicator():
    """Catches marks that are not passed on."""
    found = {}
    for indicator in (True, False):
        model = build("MODEL.DITO.FUSION.INDICATOR", indicator).eval()
        for marks in (None, torch.tensor([True, False, True, False, True])):
            model.set_vocabulary(words(5), marks)
            found[indicator, marks is not None] = model(batch(nothing()))[0]["instances"].scores
    assert torch.equal(found[False, True], found[False, False])
    assert torch.equal(found[True, False], found[False, False])
    assert not torch.equal(found[True, True], found[True, False])


def test_training__autocast__losses_near_those_of_float32(detector):
    """Catches boxes, scores or losses computed in half precision."""
    found = []
    for enabled in (False, True):
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses = detector.train()(batch(targets()))
        assert all(loss.dtype == torch.float32 for loss in losses.values())
        found.append({name: loss.item() for name, loss in losses.items()})
    for name in ("loss_objectness", "loss_proposal_box"):  # the others depend on which regions were drawn
        assert found[1][name] == pytest.approx(found[0][name], rel=0.1)


def test_forward__no_vocabulary__config_error():
    """Catches scores of words that nobody gave."""
    model = build()
    with pytest.raises(ConfigError, match="set_vocabulary"):
        model.eval()(batch(nothing()))
    with pytest.raises(ConfigError, match=r"VOCABULARY\.TRAIN"):
        model.train()(batch(targets()))


def test_forward__objects_that_do_not_fit__data_error(detector):
    """Catches an index error far from its cause."""
    with pytest.raises(DataError, match="MASK_ON"):
        detector.train()(batch(targets(masks=False)))
    model = build()
    model.set_vocabulary(words(2), torch.tensor([True, True]), training=True)
    with pytest.raises(DataError, match="class 3, but the training vocabulary has 2"):
        model(batch(targets()))
    model.set_vocabulary(words(2), training=True)
    with pytest.raises(DataError, match="class 3, but the training vocabulary has 2"):
        model(batch(targets()))


@pytest.mark.parametrize(
    ("embeddings", "marks", "message"),
    [
        (torch.zeros(3, 5), None, "expected \\(classes \\+ 1, 192\\)"),
        (torch.zeros(0, WIDTH), None, "expected"),
        (torch.full((3, WIDTH), torch.nan), None, "not finite"),
        (torch.zeros(3, WIDTH), torch.ones(3, dtype=torch.bool), "3.* base marks for 2 classes"),
    ],
)
def test_set_vocabulary__wrong__config_error(detector, embeddings, marks, message):
    """Catches a vocabulary of another model."""
    with pytest.raises(ConfigError, match=message):
        detector.set_vocabulary(embeddings, marks)


def test_set_vocabulary__object__embeddings_and_marks_arrive(detector):
    """Catches base marks of a vocabulary that get lost."""
    rows, marks = words(3), torch.tensor([True, False, True])
    detector.set_vocabulary(SimpleNamespace(names=("a", "b", "c"), embeddings=rows, is_base=marks))
    assert torch.equal(detector.vocabulary.embeddings, rows)
    assert torch.equal(detector.vocabulary.is_base, marks)


def test_load_checkpoint__pretraining_file__fills_both_transformers():
    """Catches a frozen transformer that stays random; a detector's own file must not be overwritten."""
    model, source = build(), build()
    with torch.no_grad():
        for p in source.parameters():
            p.normal_()
    stage2 = {n: v for n, v in source.state_dict().items() if n.startswith(("backbone.", "pyramid.", "box_head."))}
    report = load_checkpoint(model, stage2)
    assert not report.unused
    assert torch.equal(model.frozen_backbone.pos_embed, source.backbone.pos_embed)
    assert all(n.startswith(("proposal_head.", "mask_head.", "temperature")) for n in report.missing)
    load_checkpoint(model, source.state_dict(), strict=True)
    assert torch.equal(model.frozen_backbone.pos_embed, source.frozen_backbone.pos_embed)
    assert not torch.equal(source.frozen_backbone.pos_embed, source.backbone.pos_embed)
    assert not any("vocabulary" in n for n in model.state_dict())


def test_build_optimizer__world__groups_are_those_of_the_specification():
    """Catches decay outside the heads' kernels, a backbone at the full rate (acceptance check 7, spec 6.5)."""
    cfg = load_config(WORLD, SMALL)
    model = build_model(cfg)
    optimizer = build_optimizer(cfg, model)
    names = {id(p): n for n, p in model.named_parameters()}
    found = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert not any(n.startswith("frozen_backbone.") for n in found)
    for name, (rate, decay) in found.items():
        is_kernel = not name.startswith("backbone.") and dict(model.named_parameters())[name].dim() >= 2
        assert decay == (1e-4 if is_kernel else 0.0), name
        assert rate == pytest.approx(0.02 * (0.6 if name.startswith("backbone.") else 1.0)), name
    assert sum(decay > 0 for _, decay in found.values()) == 28
    schedule = build_schedule(cfg, optimizer)
    rates = {}
    for step in range(2000):
        rates[step] = max(g["lr"] for g in optimizer.param_groups)
        optimizer.step()
        schedule.step()
    picked = [rates[k] for k in (0, 50, 100, 1599, 1600, 1800, 1900)]
    assert picked == pytest.approx([0.0032, 0.0116, 0.02, 0.02, 0.002, 2e-4, 2e-5], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["MODEL.DITO.CANVAS.SIDE", 100], "CANVAS.SIDE: 100, expected a multiple of 64"),
        (["MODEL.DITO.FUSION.SOURCE", "frosen"], "FUSION.SOURCE: unknown 'frosen'. Did you mean 'frozen'"),
        (["MODEL.DITO.FUSION.NOVEL", 1.5], "FUSION.NOVEL: 1.5"),
        (["MODEL.DITO.CANVAS.PADDING", "white"], "CANVAS.PADDING"),
        (["INPUT.FORMAT", "BGR"], "INPUT.FORMAT"),
        (["MODEL.DITO.VOCABULARY.TRAIN", "no/such.npy"], "VOCABULARY.TRAIN: no/such.npy"),
    ],
)
def test_build__wrong_value__config_error(options, message):
    """Catches a value that would show much later, or not at all."""
    with pytest.raises(ConfigError, match=message):
        build(*options)


def test_build__vocabulary_files__are_read_and_counted(tmp_path):
    """Catches rows of another number of classes, a test vocabulary that is not used, lost base marks."""
    np.save(tmp_path / "train.npy", words(14).numpy())
    np.savez(tmp_path / "test.npz", embeddings=words(20).numpy(), is_base=np.arange(20) < 14)
    key = "MODEL.DITO.VOCABULARY"
    model = build(f"{key}.TRAIN", str(tmp_path / "train.npy"), f"{key}.TEST", str(tmp_path / "test.npz"))
    assert len(model.training_vocabulary.embeddings) == 15
    assert len(model.vocabulary.embeddings) == 21
    assert int(model.vocabulary.is_base.sum()) == 14
    model = build(f"{key}.TRAIN", str(tmp_path / "train.npy"))
    assert len(model.vocabulary.embeddings) == 15
    with pytest.raises(ConfigError, match=r"15 rows .* expected 21"):
        build(f"{key}.TRAIN", str(tmp_path / "train.npy"), "MODEL.DITO.NUM_CLASSES", 20)
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="cannot be read as NumPy"):
        build(f"{key}.TRAIN", str(tmp_path / "bad.npy"))


def test_image_predictor__detector__boxes_and_masks_at_the_pictures_size(detector):
    """Catches results in pixels of the canvas: the predictor enlarges this picture to the canvas."""
    detector.set_vocabulary(words(3))
    predictor = ImagePredictor(detector, min_size=128, max_size=128, categories=["a", "b", "c"])
    result = predictor.predict(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    assert (result.height, result.width) == (40, 60)
    assert result.boxes
    assert len(result.boxes) == len(result.masks) == len(result.labels)
    assert all(x + w <= 60.01 and y + h <= 40.01 for x, y, w, h in result.boxes)
