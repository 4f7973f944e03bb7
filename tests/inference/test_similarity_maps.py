"""Features of pixels and their similarity maps: which cell a pixel belongs to, which map is looked at, the command."""

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone, build_resnet_backbone
from PIL import Image
from torch import nn

from dense.errors import ConfigError, DataError
from dense.inference.pixel_features import PixelEncoder, find_backbone, random_encoder
from dense.inference.similarity_maps import chosen_pixels, main, write_maps


class Colours(Backbone):
    """Mean colour of each cell, at strides 4 and 8: features whose similarity is known."""

    def forward(self, x):
        """Maps by name."""
        return {f"res{s}": nn.functional.avg_pool2d(x, s) for s in (4, 8)}

    def output_shape(self):
        """Channels and strides."""
        return {f"res{s}": ShapeSpec(channels=3, stride=s) for s in (4, 8)}


class Stub(nn.Module):
    """The protocol of a pretrainer: ``backbone`` and ``projector``."""

    def __init__(self, projector=None, features=None):
        super().__init__()
        self.backbone, self.projector = Colours(), projector
        self.scale = nn.Parameter(torch.ones(1))
        if features:
            self.features = features


@pytest.fixture
def cfg():
    """Configuration whose normalisation leaves colours signed."""
    cfg = get_cfg()
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, cfg.INPUT.FORMAT = [127.5] * 3, [127.5] * 3, "RGB"
    cfg.MODEL.DEVICE = "cpu"
    return cfg


@pytest.fixture
def halves():
    """40x52 pixels: red on the left of column 24, blue on the right. Width is no multiple of 8."""
    image = np.zeros((40, 52, 3), np.uint8)
    image[:, :24, 0], image[:, 24:, 2] = 255, 255
    return image


def test_similarity__two_colours__one_on_its_side_known_cosine_on_the_other(cfg, halves):
    """Catches x and y exchanged, padding stretched into the picture, and a map shifted by half a cell."""
    features = PixelEncoder(Stub(), cfg, "res4").maps(halves)["res4"]
    similarity = features.similarity(5, 30).numpy()
    assert similarity.shape == (40, 52)
    # Normalised: red (1, -1, -1), blue (-1, -1, 1): cosine -1/3.
    np.testing.assert_allclose(similarity[:, :22], 1, atol=1e-5)
    np.testing.assert_allclose(similarity[:, 26:50], -1 / 3, atol=1e-5)
    middle = (similarity[:, 23] + similarity[:, 24]) / 2
    np.testing.assert_allclose(middle, 1 / 3, atol=1e-5)  # halfway exactly on the border


@pytest.mark.parametrize("min_size", [0, 80, 20])
def test_feature_map__every_pixel__cell_that_covers_it(cfg, halves, min_size):
    """Catches a resized input whose pixels are looked up in the picture's own coordinates."""
    features = PixelEncoder(Stub(), cfg, "res4", min_size).maps(halves)["res4"]
    rows, columns = features.centres()
    for row, y in enumerate(rows):
        for column, x in enumerate(columns):
            if x >= 0 and y >= 0:
                assert features.cell(int(x), int(y)) == (row, column)
    similarity = features.similarity(2, 2).numpy()
    assert similarity.shape == (40, 52)
    assert similarity[20, 4] > 0.99
    assert similarity[20, 40] < -0.3
    with pytest.raises(DataError, match=r"pixel: \(52, 0\) is outside the picture of 52x40"):
        features.cell(52, 0)


def test_encoder__projector__its_map_and_the_compared_feature(cfg, halves):
    """Catches projections of another level than the one that was trained, and a projector in training mode."""
    projector = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 7, 1))
    encoder = PixelEncoder(Stub(projector, ["res8"]), cfg)
    maps = encoder.maps(halves)
    assert {name: found.values.shape[0] for name, found in maps.items()} == {"res8": 3, "projection": 7}
    assert encoder.maps(halves)["projection"].values.equal(maps["projection"].values)
    assert int(projector[0].num_batches_tracked) == 0
    assert set(PixelEncoder(Stub(projector, ["res8"]), cfg, "res4").maps(halves)) == {"res4"}
    assert PixelEncoder(Stub(), cfg).feature == "res8"  # the greatest stride


def test_encoder__wrong_feature_or_model__one_line(cfg):
    """Catches a KeyError, and a model that has no backbone."""
    with pytest.raises(ConfigError, match="feature 'res5'"):
        PixelEncoder(Stub(), cfg, "res5")
    with pytest.raises(ConfigError, match="Linear: has no backbone"):
        find_backbone(nn.Linear(1, 1))


def test_encoder__resnet18__maps_of_its_output(cfg, halves):
    """Catches assumptions that only the stub fulfils."""
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.OUT_FEATURES = 18, ["res4"]
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64  # Detectron2 refuses any other with this depth
    model = nn.Module()
    model.backbone = build_resnet_backbone(cfg, ShapeSpec(channels=3))
    maps = PixelEncoder(model, cfg).maps(halves)
    assert maps["res4"].values.shape == (256, 3, 4)
    assert float(maps["res4"].similarity(10, 10).max()) <= 1 + 1e-5


def test_random_encoder__seeds__other_weights_and_none_loaded(tiny):
    """Catches a random network that loads the checkpoint after all, or is the same for every seed."""
    from dense.config.loading import load_config

    cfg = load_config(tiny, ["MODEL.WEIGHTS", "nowhere.pth"])
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    first, again, other = (random_encoder(cfg, seed).maps(image)["res5"].values for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)
    assert cfg.MODEL.WEIGHTS == "nowhere.pth"


def test_write_maps__pixels_and_maps__a_readable_picture_each(cfg, halves, tmp_path):
    """Catches files that overwrite each other."""
    encoder = PixelEncoder(Stub(nn.Conv2d(3, 4, 1), ["res8"]), cfg)
    files = write_maps(encoder, halves, [(3, 4), (40, 30)], tmp_path / "photo")
    names = [f"photo_x{x}_y{y}_{name}.png" for x, y in ((3, 4), (40, 30)) for name in ("res8", "projection")]
    assert [file.name for file in files] == names
    assert all(Image.open(file).size[0] == 52 for file in files)


def test_chosen_pixels__grid__inside_and_even():
    """Catches pixels on the border, where there is only padding to see."""
    assert chosen_pixels((40, 60), 3, 2) == [(10, 10), (30, 10), (50, 10), (10, 30), (30, 30), (50, 30)]
    assert chosen_pixels((1, 1), 2, 1) == [(0, 0), (0, 0)]


def test_command__folder_and_grid__files_listed(tiny, halves, tmp_path, capsys):
    """Catches a command that works on one picture only, or is silent about random weights."""
    for name in ("a.png", "b.png"):
        Image.fromarray(halves).save(tmp_path / name)
    arguments = ["--model", str(tiny), "--input", str(tmp_path), "--grid", "2x1", "--feature", "res3", "--output"]
    assert main([*arguments, str(tmp_path / "maps")]) == 0
    written = capsys.readouterr()
    assert len(written.out.splitlines()) == 4
    assert "random weights" in written.err
    assert len(list((tmp_path / "maps").glob("*_res3.png"))) == 4


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--pixel", "60,2"], 1, "DataError: pixel: (60, 2) is outside the picture of 52x40"),
        (["--feature", "res33"], 1, "Did you mean 'res3'"),
        (["--grid", "0x1"], 1, "ConfigError: --grid: 0x1"),
        (["--pixel", "60"], 2, "'60', expected X,Y"),
    ],
)
def test_command__wrong_arguments__one_line(tiny, halves, tmp_path, capsys, words, status, message):
    """Catches a traceback for a pixel outside the picture."""
    Image.fromarray(halves).save(tmp_path / "a.png")
    arguments = ["--model", str(tiny), "--input", str(tmp_path / "a.png"), "--output", str(tmp_path / "maps"), *words]
    try:
        found = main(arguments)
    except SystemExit as stopped:
        found = stopped.code
    assert found == status
    assert message in capsys.readouterr().err


def test_encoder__bgr_model__channels_reversed(cfg, halves):
    """Catches a network trained on BGR that is shown RGB."""
    rgb = PixelEncoder(Stub(), cfg).maps(halves)["res8"].values
    cfg.INPUT.FORMAT = "BGR"
    assert PixelEncoder(Stub(), cfg).maps(halves)["res8"].values.equal(rgb.flip(0))
