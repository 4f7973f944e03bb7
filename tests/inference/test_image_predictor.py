"""ImagePredictor: sizes, order, channel order, what each task gives; and a model that knows the answer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dense.errors import ConfigError, DataError
from dense.inference.image_predictor import ImagePredictor
from dense.inference.network_input import NetworkInput
from dense.modeling.postprocess import Instances, PanopticSegment
from dense.structures.rle import decode

DATA = Path(__file__).resolve().parents[1] / "data"
CASES = DATA / "cases"


@pytest.fixture(scope="module")
def tiny_image():
    """Configuration of a small image segmenter with random weights, all tasks on."""
    return DATA / "configs" / "tiny_image.yaml"


@pytest.fixture(scope="module")
def predictor(tiny_image):
    return ImagePredictor(tiny_image)


class Answering(nn.Module):
    """Gives fixed results at the size asked for, and keeps what it was given."""

    def __init__(self, instances=None, panoptic=None, semantic=None):
        super().__init__()
        self.tasks = frozenset({"instance"})
        self.answer = {"instances": instances, "panoptic_seg": panoptic, "sem_seg": semantic}

    def forward(self, batch):
        (self.record,) = batch
        return [{k: v for k, v in self.answer.items() if v is not None}]


def test_predict__all_tasks__everything_at_the_image_s_size(predictor):
    """Catches maps at the network's size, and results of a task that are dropped."""
    result = predictor.predict(np.random.default_rng(0).integers(0, 256, (37, 91, 3), dtype=np.uint8))
    assert (result.height, result.width) == (37, 91)
    assert result.panoptic.shape == result.semantic.shape == (37, 91)
    assert (result.panoptic.dtype, result.semantic.dtype) == (np.int32, np.uint8)
    assert set(np.unique(result.panoptic)) - {0} == {s.id for s in result.segments}
    assert {s.id: s.area for s in result.segments} == {s.id: int((result.panoptic == s.id).sum()) for s in result.segments}
    assert result.masks
    assert all(decode(mask).shape == (37, 91) for mask in result.masks)
    assert result.scores == sorted(result.scores, reverse=True)
    assert len(result.categories) == 19


def test_predict__things_of_the_world__stuff_is_no_thing(predictor):
    """Catches a panoptic model that does not know which classes are things (then all would be stuff)."""
    assert predictor.model.things == frozenset(range(14))


@pytest.mark.parametrize("name", ["1x1.png", "4000x1.png"])
def test_predict__one_pixel_wide__masks_of_that_size(predictor, name):
    """Catches a division by zero or a network input of no pixels."""
    result = predictor.predict(CASES / "img-one-pixel" / name)
    assert (result.width, result.height) == tuple(int(v) for v in name.removesuffix(".png").split("x"))
    assert result.semantic.shape == (result.height, result.width)


def test_predict__model_s_answer__best_first_without_empty_masks():
    """Catches labels that part from their scores when sorted, empty masks, and objects below the least score."""
    masks = torch.zeros(4, 3, 5, dtype=torch.bool)
    masks[0, 0], masks[1, 1], masks[3, 2] = True, True, True
    answer = Instances(torch.tensor([0.5, 0.9, 0.99, 0.1]), torch.tensor([3, 1, 2, 0]), masks)
    result = ImagePredictor(Answering(answer), min_score=0.2).predict(np.zeros((3, 5, 3), np.uint8))
    assert result.labels == [1, 3]
    assert result.scores == pytest.approx([0.9, 0.5])
    assert [decode(m).any(axis=1).tolist() for m in result.masks] == [[False, True, False], [True, False, False]]
    assert (result.panoptic, result.semantic) == (None, None)


def test_predict__panoptic_and_semantic_answer__passed_on():
    """Catches areas of the wrong segment and the best class taken over the wrong axis."""
    ids = torch.tensor([[1, 1, 0], [2, 2, 2]], dtype=torch.int32)
    scores = torch.zeros(300, 2, 3)
    scores[299, 0], scores[4, 1] = 1, 1
    segments = [PanopticSegment(1, True, 5), PanopticSegment(2, False, 6)]
    result = ImagePredictor(Answering(panoptic=(ids, segments), semantic=scores)).predict(np.zeros((2, 3, 3), np.uint8))
    assert [(s.id, s.label, s.isthing, s.area) for s in result.segments] == [(1, 5, True, 2), (2, 6, False, 3)]
    assert result.semantic.tolist() == [[299] * 3, [4] * 3]
    assert result.semantic.dtype == np.int16


def test_predict__bgr_and_shortest_edge__what_the_network_gets():
    """Catches channels in the wrong order and edges exchanged."""
    model = Answering()
    predictor = ImagePredictor(model, min_size=20, max_size=100)
    predictor.input = NetworkInput(20, 100, bgr=True)
    image = np.zeros((10, 30, 3), np.uint8)
    image[..., 0] = 200
    predictor.predict(image)
    assert tuple(model.record["image"].shape) == (3, 20, 60)
    assert [int(channel.max()) for channel in model.record["image"]] == [0, 0, 200]
    assert (model.record["height"], model.record["width"]) == (10, 30)


@pytest.mark.parametrize("name", ["img-cmyk/cmyk.jpg", "img-palette/palette.png", "img-rgba/rgba.png", "img-exif-all/o6.jpg"])
def test_predict__unusual_picture__runs_at_its_upright_size(predictor, name):
    """Catches four channels reaching the network and sideways results."""
    result = predictor.predict(CASES / name)
    upright = (40, 30) if "o6" in name else (30, 40)
    assert (result.height, result.width) == upright


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), 7])
def test_predict__no_picture__data_error(predictor, image):
    """Catches foreign tracebacks from inside the network."""
    with pytest.raises(DataError, match="image"):
        predictor.predict(image)


def test_predict__cut_picture__error_names_it(predictor):
    """Catches a picture that is gray below the damage, segmented as if it were whole."""
    with pytest.raises(DataError, match=r"cut\.jpg"):
        predictor.predict(CASES / "img-truncated-jpeg" / "cut.jpg")


def test_image_predictor__video_model__says_what_to_change(tiny):
    """Catches an AttributeError; the override it names must work."""
    with pytest.raises(ConfigError, match="ImageSegmenter"):
        ImagePredictor(tiny)
    overrides = ["MODEL.META_ARCHITECTURE", "ImageSegmenter", "MODEL.MASK_FORMER.TEST.INSTANCE_ON", "True"]
    assert ImagePredictor(tiny, overrides).predict(np.zeros((32, 32, 3), np.uint8)).height == 32


def test_image_predictor__wrong_values__config_error(tiny_image, predictor):
    """Catches sizes and vocabularies that are ignored."""
    with pytest.raises(ConfigError, match="min_score"):
        ImagePredictor(tiny_image, min_score=2)
    with pytest.raises(ConfigError, match="max_size"):
        ImagePredictor(tiny_image, max_size=0)
    with pytest.raises(ConfigError, match="vocabulary"):
        predictor.predict(np.zeros((8, 8, 3), np.uint8), vocabulary=["cat"])


def test_dense__image_predictor__is_public():
    """Catches a name that the documentation promises and the package lacks."""
    import dense

    assert dense.ImagePredictor is ImagePredictor
