"""A detector that is asked for words: its own text tower, base marks, the cache, predictors and heat maps."""

import numpy as np
import pytest
import torch

from dense import ImagePredictor, load_checkpoint, load_config
from dense.config.architectures import class_count, is_detector
from dense.data.world import WORD_CATEGORIES
from dense.errors import ConfigError, DataError
from dense.modeling import build_model
from dense.modeling.open_vocabulary import TakesWords
from dense.projects.dito.text import Vocabulary
from dense.projects.dito.text.prompts import templates

SMALL = ["MODEL.DITO.CANVAS.SIDE", 128, "MODEL.DITO.PROPOSALS.BEFORE", 40, "MODEL.DITO.PROPOSALS.AFTER", 20]
SMALL += ["MODEL.DITO.TEST.DETECTIONS", 10]
BASE = [category.name for category in WORD_CATEGORIES if not category.novel]
NOVEL = [category.name for category in WORD_CATEGORIES if category.novel]


def build(*options):
    torch.manual_seed(0)
    model = build_model(load_config("configs/dito/world_detector.yaml", [*SMALL, *options])).eval()
    torch.nn.init.constant_(model.proposal_head.distances.bias, 0.5)
    for transformer in (model.backbone, model.frozen_backbone):  # faster
        del transformer.blocks[1:]
        del transformer.windows[1:]
    return model


@pytest.fixture(scope="module")
def detector():
    return build()


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)


def test_world_configs__same_parts__in_all_three_stages():
    """Catches a width, a tokenizer or a grid that one stage has otherwise: its weights would be left out at loading."""
    image, region, detector = (load_config(f"configs/dito/world_{n}.yaml") for n in ("image", "region", "detector"))
    for part in ("BACKBONE", "HEADS", "TEXT"):
        assert image.MODEL.DITO[part] == region.MODEL.DITO[part] == detector.MODEL.DITO[part], part
    assert tuple(image.INPUT.CAPTIONS.ASPECT) == (1.0, 1.7)
    assert is_detector(detector)
    assert class_count(detector) == len(BASE)


def test_look_for__words__embedded_by_the_own_tower_and_marked_as_base(detector):
    """Catches embeddings by other templates, and novel words that get the exponent of base ones."""
    words = (BASE[3], NOVEL[0], "purple cow")
    assert detector.look_for([f"  {words[0].upper()} ", *words[1:]]) == (words[0].upper(), *words[1:])
    expected = Vocabulary.from_words(words, detector.text, templates("world")).embeddings
    torch.testing.assert_close(detector.vocabulary.embeddings, expected)
    assert detector.vocabulary.is_base.tolist() == [True, False, False]
    assert isinstance(detector, TakesWords)


def test_losses__no_embeddings_given__the_training_sets_words(picture):
    """Catches a training without words, or with others than the classes' in their order."""
    model = build()
    model._words.prepare(model.text, training=True)
    expected = Vocabulary.from_words(BASE, model.text, templates("world")).embeddings
    torch.testing.assert_close(model.training_vocabulary.embeddings, expected)
    assert not any(p.requires_grad for p in model.text.parameters())
    assert not model.train().text.training
    found = model.eval().predict(picture)
    assert len(model.vocabulary.embeddings) == len(BASE) + 1
    assert found.labels


def test_predict__any_words__labels_are_their_places(detector, picture):
    """Catches classes that mean the words of the call before, and a model that stays in another mode."""
    three = detector.predict(picture, [NOVEL[2], "red disc", "blue star"])
    assert three.categories == [NOVEL[2], "red disc", "blue star"]
    assert three.labels
    assert len(three.labels) == len(three.boxes) == len(three.masks)
    (x, y, width, height) = three.boxes[0]
    assert x + width <= 100.01
    assert y + height <= 60.01
    again = detector.predict(picture, ["red disc", "blue star", NOVEL[2]])
    assert [three.categories[k] for k in three.labels] == [again.categories[k] for k in again.labels]
    np.testing.assert_allclose(three.scores, again.scores, rtol=1e-4)


def test_predict__a_thousand_and_no_words__defined(detector, picture):
    """Catches a limit that nobody told of, and an index error without classes."""
    many = [f"word {k}" for k in range(1100)]
    assert max(detector.predict(picture, many).labels) < 1100
    assert len(detector.vocabulary.embeddings) == 1101
    nothing = detector.predict(picture, [])
    assert nothing.labels == []
    assert nothing.categories == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["red disc", " "], r"words\[1\]: blank"),
        (["red disc", "Red  disc"], "again"),
        (["long " * 60], "pieces with its template"),
    ],
)
def test_predict__words_that_do_not_go__data_error(detector, picture, words, message):
    """Catches words that would quietly be cut off, doubled or nothing."""
    with pytest.raises(DataError, match=message):
        detector.predict(picture, words)


def test_predictor__categories_after_words__those_of_the_data_set_again(detector, picture):
    """Catches scores of a data set with the words of a user's last question."""
    predictor = ImagePredictor(detector, min_size=128, max_size=128, categories=[c.name for c in WORD_CATEGORIES])
    first = predictor.predict(picture)
    predictor.predict(picture, ["heart"])
    again = predictor.predict(picture)
    assert (first.labels, first.scores) == (again.labels, again.scores)
    assert detector.vocabulary.is_base.tolist() == [not c.novel for c in WORD_CATEGORIES]


def test_predictor__given_embeddings__stay_for_categories_and_must_be_as_many(picture):
    """Catches precomputed embeddings that are lost after a question, or stand for other categories than are scored."""
    model = build()
    given = torch.randn(4, 192)
    model.set_vocabulary(given, torch.tensor([True, False, True]))
    predictor = ImagePredictor(model, min_size=128, max_size=128, categories=["a", "b", "c"])
    predictor.predict(picture, ["heart"])
    predictor.predict(picture)
    assert torch.equal(model.vocabulary.embeddings, given)
    with pytest.raises(ConfigError, match="3 words have embeddings, but there are 2 categories"):
        ImagePredictor(model, min_size=128, max_size=128, categories=["a", "b"]).predict(picture)


def test_look_for__no_text_tower__config_error(picture):
    """Catches words that are dropped by a model that has nothing to embed them with."""
    model = build("MODEL.DITO.TEXT.TOKENIZER", "")
    with pytest.raises(ConfigError, match="no text tower"):
        model.predict(picture, ["heart"])
    assert not any(name.startswith("text.") for name in model.state_dict())


def test_cache__second_model_of_the_same_weights__reads_it(tmp_path, monkeypatch):
    """Catches embeddings that are computed anew for every start, and those of other weights."""
    first, second, other = (build("MODEL.DITO.TEXT.CACHE", str(tmp_path / "words")) for _ in range(3))
    first.look_for(["heart", "red disc"])
    with torch.no_grad():
        other.text.projection.weight.add_(0.1)
    other.look_for(["heart"])
    assert len(list((tmp_path / "words").iterdir())) == 2
    monkeypatch.setattr("dense.projects.dito.text.vocabulary.embed_texts", lambda *_: pytest.fail("computed again"))
    second.look_for(["red disc", "heart"])
    assert torch.equal(second.vocabulary.embeddings[[0, 2, 1]], first.vocabulary.embeddings)
    assert not torch.equal(other.vocabulary.embeddings[1], first.vocabulary.embeddings[1])


def test_word_maps__patch_that_is_the_word__brightest_there(detector, picture):
    """Catches maps that are mirrored, shifted by cells, or of the padded canvas."""
    predictor = ImagePredictor(detector, min_size=128, max_size=128)
    stack = detector.canvas([predictor.input.tensor(picture)])
    feature = detector.frozen_backbone(stack.tensor)[0]
    centred = feature - feature.mean((1, 2), keepdim=True)  # random weights: all places are much alike
    detector.set_vocabulary(torch.stack([torch.ones(192), centred[:, 1, 6], centred[:, 3, 2]]))
    detector.frozen_backbone.register_forward_hook(lambda *_: centred[None])
    maps = predictor.word_maps(picture)
    assert maps.shape == (2, 60, 100)
    scale = 100 / 128
    for cosines, (row, column) in zip(maps, ((1, 6), (3, 2)), strict=True):
        y, x = np.unravel_index(cosines.argmax(), cosines.shape)
        assert abs(y - (row + 0.5) * 16 * scale) < 7
        assert abs(x - (column + 0.5) * 16 * scale) < 7
    assert maps.max() == pytest.approx(1, abs=0.1)  # pixels lie between the centres of patches
    detector.frozen_backbone._forward_hooks.clear()


def test_load_checkpoint__pretraining_file__words_by_its_text_tower(detector):
    """Catches a text tower that stays random, and one that asks for weights that a detector's own file has not."""
    model = build()
    held = {n: v + 1 for n, v in detector.state_dict().items() if n.startswith(("backbone.", "text."))}
    load_checkpoint(model, held)
    model.look_for(["heart"])
    expected = Vocabulary.from_words(["heart"], model.text, templates("world")).embeddings
    assert torch.equal(model.vocabulary.embeddings, expected)
    assert torch.equal(model.text.pos_embed, detector.text.pos_embed + 1)
