"""Probes on pixels: against closed forms and brute force, on the world, and the command's table."""

import json

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import nn

from dense.data.mappers.image_annotations import Regions
from dense.data.world import make_image_world
from dense.errors import ConfigError, DataError
from dense.inference.pixel_features import PixelEncoder
from dense.inference.pixel_probe import (
    LabelledPixels,
    collect_pixels,
    label_map,
    linear_probe,
    neighbour_probe,
    score_probes,
)
from dense.inference.probe_command import main, summary_lines
from dense.inference.probe_images import read_probe_images

SIZE = (64, 96)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Root of all data sets, with a few images of the world."""
    root = tmp_path_factory.mktemp("sets")
    make_image_world(root / "world_images", train_images=4, valid_images=3, size=SIZE, workers=1)
    return root


@pytest.fixture
def sets(world, monkeypatch):
    """Registered names lie there."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(world))
    return world


class Colours(Backbone):
    """Mean colour of cells of 4 pixels."""

    def forward(self, x):
        """One map."""
        return {"res4": nn.functional.avg_pool2d(x, 4)}

    def output_shape(self):
        """Three channels, stride 4."""
        return {"res4": ShapeSpec(channels=3, stride=4)}


@pytest.fixture
def encoder():
    """Colours as features."""
    cfg = get_cfg()
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, cfg.INPUT.FORMAT = [127.5] * 3, [127.5] * 3, "RGB"
    model = nn.Module()
    model.backbone = Colours()
    return PixelEncoder(model, cfg)


class Blocks:
    """Images of two colours: class 0 is red, class 1 blue; the lowest rows are unlabelled."""

    def __init__(self, folder, count=3):
        from PIL import Image

        self.paths = []
        for k in range(count):
            pixels = np.zeros((32, 48, 3), np.uint8)
            pixels[:, : 16 + 4 * k, 0], pixels[:, 16 + 4 * k :, 2] = 200, 200
            self.paths.append(folder / f"{k}.png")
            Image.fromarray(pixels).save(self.paths[-1])

    def __len__(self):
        return len(self.paths)

    def path(self, index):
        """Picture."""
        return self.paths[index]

    def stated_size(self, index):
        """Whatever it is."""
        return None

    def regions(self, index, size):
        """Both colours."""
        masks = np.zeros((2, *size), bool)
        masks[0, :24, : 16 + 4 * index], masks[1, :24, 16 + 4 * index :] = True, True
        return Regions(np.array([0, 1]), masks)


def test_collect_pixels__blocks__features_belong_to_their_labels(encoder, tmp_path):
    """Catches features and labels read in different orders, and unlabelled pixels that are drawn."""
    blocks = Blocks(tmp_path)
    pixels = collect_pixels(encoder, blocks, range(3), on="res4", per_image=10**6, seed=0)
    assert len(pixels.labels) == 3 * 6 * 12  # 24 labelled rows of 32
    red = pixels.features[:, 0] > pixels.features[:, 2]
    assert torch.equal(pixels.labels == 0, red)
    few = [collect_pixels(encoder, blocks, range(3), on="res4", per_image=5, seed=seed) for seed in (0, 0, 1)]
    assert few[0].features.shape == (15, 3)
    assert torch.equal(few[0].labels, few[1].labels)
    assert not torch.equal(few[0].labels, few[2].labels)


def test_score_probes__separable_colours__everything_right(encoder, tmp_path):
    """Catches scores laid out as columns first, a map shifted against the labels, and ignored pixels that count."""
    blocks = Blocks(tmp_path)
    pixels = collect_pixels(encoder, blocks, range(2), on="res4", per_image=50, seed=0)
    probes = {"linear": linear_probe(pixels, 2), "neighbours": neighbour_probe(pixels, 2, neighbours=3)}
    scores = score_probes(encoder, probes, blocks, range(3), on="res4", names=["red", "blue"])
    for figures in scores.values():
        assert figures["pixel_accuracy"] > 99
        assert figures["mIoU"] > 98
    wrong = {"swapped": lambda features: linear_probe(pixels, 2)(features).flip(1)}
    assert score_probes(encoder, wrong, blocks, range(3), on="res4", names=["red", "blue"])["swapped"]["mIoU"] < 1


def test_linear_probe__against_scikit_free_optimum__gradient_vanishes():
    """Catches a fit that stops early: at the optimum of a convex loss the gradient is zero."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(300, 5, generator=generator) * 4 + 9
    labels = (features[:, 0] > 9).long() + (features[:, 1] > 11).long()
    decay = 1e-2
    classify = linear_probe(LabelledPixels(features, labels), 3, decay=decay)
    scale, mean = features.std(0, unbiased=False), features.mean(0)
    origin = classify(mean[None])[0]
    weight = torch.stack([classify((mean + scale * unit)[None])[0] - origin for unit in torch.eye(5)], 1).requires_grad_()
    bias = origin.clone().requires_grad_()
    inputs = (features - mean) / scale
    loss = nn.functional.cross_entropy(inputs @ weight.T + bias, labels) + decay * weight.square().sum()
    loss.backward()
    assert float(weight.grad.abs().max()) < 1e-4
    assert float(bias.grad.abs().max()) < 1e-4


def test_neighbour_probe__random_bank__brute_force():
    """Catches votes of the wrong rows, weights that are not those of the cosine, and a bank smaller than the votes."""
    generator = torch.Generator().manual_seed(1)
    bank, labels = torch.randn(40, 6, generator=generator), torch.randint(0, 4, (40,), generator=generator)
    queries = torch.randn(7, 6, generator=generator)
    found = neighbour_probe(LabelledPixels(bank, labels), 4, neighbours=5, temperature=0.1)(queries)
    mean, std = bank.mean(0), bank.std(0, unbiased=False)
    unit = nn.functional.normalize((bank - mean) / std, dim=1)
    for query, scores in zip(queries, found, strict=True):
        cosines = unit @ nn.functional.normalize((query - mean) / std, dim=0)
        order = sorted(range(40), key=lambda k: -float(cosines[k]))[:5]
        votes = torch.zeros(4)
        for k in order:
            votes[labels[k]] += torch.exp(cosines[k] / 0.1)
        torch.testing.assert_close(scores, votes / votes.sum(), rtol=1e-4, atol=1e-5)
    few = neighbour_probe(LabelledPixels(bank[:3], labels[:3]), 4, neighbours=5)(queries)
    torch.testing.assert_close(few.sum(1), torch.ones(7))


def test_probes__constant_channel__finite():
    """Catches a division by the deviation of a dead channel."""
    features = torch.randn(20, 3)
    features[:, 1] = 4.0
    pixels = LabelledPixels(features, torch.arange(20) % 2)
    for classify in (linear_probe(pixels, 2), neighbour_probe(pixels, 2)):
        assert bool(classify(features + 1).isfinite().all())


def test_collect_pixels__nothing_labelled__one_line(encoder, tmp_path):
    """Catches an empty bank that only fails inside the fit."""
    blocks = Blocks(tmp_path)
    blocks.regions = lambda index, size: Regions(np.zeros(0, np.int64), np.zeros((0, *size), bool))
    with pytest.raises(DataError, match="none of 3 training images has a labelled pixel"):
        collect_pixels(encoder, blocks, range(3), on="res4", per_image=5, seed=0)


@pytest.mark.parametrize("kind", ["image_semantic", "image_panoptic", "image_instance"])
def test_read_probe_images__three_formats_of_one_world__same_labels(kind, sets):
    """Catches regions painted in the wrong order, and a background that takes the place of a class."""
    ends = {"image_semantic": "_semantic", "image_panoptic": "_panoptic", "image_instance": ""}
    images = read_probe_images(f"world_images_valid{ends[kind]}", kind)
    truth = read_probe_images("world_images_valid_semantic", "image_semantic")
    for index in range(3):
        labels = label_map(images.annotations, index, SIZE, images.background)
        expected = label_map(truth.annotations, index, SIZE)
        if kind == "image_instance":
            assert images.names[-1] == "background"
            expected = np.where(expected < len(images.names) - 1, expected, len(images.names) - 1)
        assert np.array_equal(labels, expected)
    assert list(read_probe_images(f"world_images_valid{ends[kind]}", kind, 2).chosen) == [0, 1]


def test_read_probe_images__wrong_name__suggests(sets):
    """Catches a KeyError for a data set that does not exist."""
    with pytest.raises(ConfigError, match="Did you mean"):
        read_probe_images("world_images_vald_semantic", "image_semantic")


@pytest.fixture
def weights(tiny, tmp_path):
    """Weights of the small model, saved."""
    from dense.config.loading import load_config
    from dense.modeling import build_model

    torch.manual_seed(7)
    torch.save({"model": build_model(load_config(tiny)).state_dict()}, tmp_path / "model.pth")
    return tmp_path / "model.pth"


def test_command__world__table_beside_random_and_json(tiny, weights, sets, tmp_path, capsys):
    """Catches a random network that is the checkpoint, seeds that do nothing, and figures outside 0 to 100."""
    words = ["--model", str(tiny), "--seeds", "2", "--pixels", "40", "--feature", "res3", "--json", str(tmp_path / "out.json")]
    assert main([*words, "MODEL.WEIGHTS", str(weights)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 1 + 2 * 2
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert len(rows) == 2 * 2 * 2
    assert all(0 <= row["mIoU"] <= 100 and 0 <= row["pixel_accuracy"] <= 100 for row in rows)
    figures = {(row["network"], row["seed"]): row["mIoU"] for row in rows if row["probe"] == "linear"}
    assert len(set(figures.values())) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "MODEL.WEIGHTS: empty"),
        (["--seeds", "0"], "--seeds: 0, expected 1 or more"),
        (["--on", "projection", "MODEL.WEIGHTS", "FILE"], "--on: 'projection', expected 'res5'."),
        (["--kind", "image_instance", "--train", "world_images_train", "MODEL.WEIGHTS", "FILE"], "world_images_valid_semantic"),
    ],
)
def test_command__wrong_arguments__one_line(tiny, weights, sets, capsys, words, message):
    """Catches a probe of random weights taken for one of a checkpoint, and a late traceback."""
    words = [str(weights) if word == "FILE" else word for word in words]
    assert main(["--model", str(tiny), *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_summary_lines__seeds__mean_and_deviation():
    """Catches networks mixed up in the table."""
    rows = [
        {"probe": "linear", "network": network, "seed": seed, "mIoU": base + seed, "pixel_accuracy": 2 * base}
        for network, base in (("checkpoint", 40.0), ("random", 10.0))
        for seed in range(3)
    ]
    lines = summary_lines(rows)
    assert "41.00 ± 1.00" in lines[1]
    assert "80.00 ± 0.00" in lines[1]
    assert "11.00 ± 1.00" in lines[2]
