"""Tokenizers: SentencePiece models, tokenizer.json files, and a small one trained on captions."""

import copy
import sys

import pytest
import torch

from dense.errors import ConfigError, DataError, DependencyError
from dense.projects.dito.text.command import main
from dense.projects.dito.text.tokenizer import PAD, JsonTokenizer, SentencePieceTokenizer, load_tokenizer
from dense.projects.dito.text.training import LEAST_PIECES, read_captions, train_tokenizer

CAPTIONS = ["A red disc and a blue star.", "two striped rings on sand", "a small dotted star left of a red ring"] * 3


@pytest.fixture(scope="module")
def json_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer(CAPTIONS, 400, path)
    return path


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A SentencePiece model as DITO's is made: begin sign, pad 0."""
    library = pytest.importorskip("sentencepiece")
    path = tmp_path_factory.mktemp("tokenizer") / "dito.model"
    with path.open("wb") as stream:
        library.SentencePieceTrainer.train(
            sentence_iterator=iter(c.lower() for c in CAPTIONS),
            model_writer=stream,
            vocab_size=60,
            hard_vocab_limit=False,
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            minloglevel=2,
        )
    return path


def test_sentence_piece__text__begin_sign_lower_case_no_end_sign(model_file):
    """Catches an end sign, a missing begin sign, and pieces of capital letters (unknown to a lower-case model)."""
    sentencepiece = pytest.importorskip("sentencepiece")
    tokenizer = load_tokenizer(model_file)
    assert isinstance(tokenizer, SentencePieceTokenizer)
    assert tokenizer.context == 64
    reference = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
    texts = ["A Red DISC", "star"]
    expected = [[2, *reference.encode(text.lower())] for text in texts]
    tokens = tokenizer.encode(texts)
    assert tokens.lengths.tolist() == [len(row) for row in expected]
    for row, ids, length in zip(expected, tokens.ids, tokens.lengths, strict=True):
        assert ids[:length].tolist() == row
        assert (ids[length:] == PAD).all()


def test_sentence_piece__context__cut_and_end_sign_kept(model_file):
    """Catches texts longer than the table of positions, and an end sign that is cut off where it is pooled."""
    whole = SentencePieceTokenizer(model_file).encode(CAPTIONS[:1]).ids[0]
    assert torch.equal(SentencePieceTokenizer(model_file, 5).encode(CAPTIONS[:1]).ids[0], whole[:5])
    with_end = SentencePieceTokenizer(model_file, 5, end=True)
    assert with_end.encode(CAPTIONS[:1]).ids[0].tolist() == [*whole[:4].tolist(), 3]
    assert with_end.fingerprint != SentencePieceTokenizer(model_file, 5).fingerprint


@pytest.mark.parametrize("text", ["a red disc", "", "Übergröße", "日本 ☕", "a" * 500, "[BOS] [PAD]", "\x00\n\t"])
def test_json_tokenizer__any_text__is_written_in_full(json_file, text):
    """Catches scripts that become unknown signs: two foreign words would get one embedding."""
    tokenizer = load_tokenizer(json_file, 4096)
    assert isinstance(tokenizer, JsonTokenizer)
    row = tokenizer.numbers([text])[0]
    assert row[0] == tokenizer.model.token_to_id("[BOS]")
    assert all(0 <= number < tokenizer.pieces for number in row)
    if "[" not in text and "\n" not in text:
        assert tokenizer.model.decode(row).strip() == text.lower()


def test_json_tokenizer__known_words__one_piece_each(json_file):
    """Catches a training that joins nothing."""
    assert len(load_tokenizer(json_file).numbers(["a striped star"])[0]) == 4


def test_tokenizer__batches__equal_to_single_texts_and_copied_with_the_model(json_file):
    """Catches rows mixed up in a batch, and tokenizers that cannot be copied with a model."""
    tokenizer = copy.deepcopy(load_tokenizer(json_file))
    tokens = tokenizer.encode(CAPTIONS[:3])
    assert tokens.ids.shape[1] == int(tokens.lengths.max())
    for text, ids, length in zip(CAPTIONS, tokens.ids, tokens.lengths, strict=False):
        assert torch.equal(tokenizer.encode([text]).ids[0], ids[:length])
    assert tokenizer.encode([]).ids.shape[0] == 0


def test_train_tokenizer__same_captions__same_file(json_file, tmp_path):
    """Catches a training that depends on the order of a hash table: caches would never be found again."""
    train_tokenizer(CAPTIONS, 400, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == json_file.read_bytes()


def test_train_tokenizer__nothing_to_learn_from__refused(tmp_path):
    """Catches a tokenizer without words, and one that cannot write every byte."""
    with pytest.raises(DataError, match="captions: none"):
        train_tokenizer(["", "  "], 400, tmp_path / "x.json")
    with pytest.raises(ConfigError, match=str(LEAST_PIECES)):
        train_tokenizer(CAPTIONS, 100, tmp_path / "x.json")
    assert not list(tmp_path.iterdir())


def test_command__captions_of_two_kinds__tokenizer(tmp_path, capsys):
    """Catches a command that reads one kind of file only, or fails with frames."""
    (tmp_path / "a.json").write_text('{"annotations": [{"caption": "a red disc"}]}', encoding="utf-8")
    (tmp_path / "b.txt").write_text("a blue star\n\n", encoding="utf-8")
    output = tmp_path / "made" / "tokenizer.json"
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.txt")]
    assert main(["--captions", *files, "--pieces", "300", "--output", str(output)]) == 0
    assert len(load_tokenizer(output).numbers(["red star"])[0]) == 3
    (tmp_path / "a.json").write_text('{"annotations": [{"text": 1}]}', encoding="utf-8")
    assert main(["--captions", files[0], "--output", str(output)]) == 1
    assert "annotations[0]" in capsys.readouterr().err
    with pytest.raises(DataError, match="COCO captions"):
        read_captions(_written(tmp_path / "c.json", "{}"))


def _written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_load_tokenizer__damaged_missing_or_unknown_file__named(tmp_path):
    """Catches foreign errors from the libraries."""
    pytest.importorskip("sentencepiece")
    for name in ("x.model", "x.json"):
        with pytest.raises(DataError, match="cannot be read"):
            load_tokenizer(tmp_path / name)
        with pytest.raises(DataError, match=name):
            load_tokenizer(_written(tmp_path / name, "nonsense"))
    with pytest.raises(DataError, match="unknown kind"):
        load_tokenizer(tmp_path / "x.vocab")
    with pytest.raises(ConfigError, match="context"):
        load_tokenizer("configs/dito/world_tokenizer.json", 1)


@pytest.mark.parametrize(("name", "library"), [("x.model", "sentencepiece"), ("x.json", "tokenizers")])
def test_load_tokenizer__library_absent__said_how_to_get_it(tmp_path, monkeypatch, name, library):
    """Catches a bare ImportError where an optional library is missing."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DependencyError, match=f"pip install {library}"):
        load_tokenizer(_written(tmp_path / name, "{}"))
