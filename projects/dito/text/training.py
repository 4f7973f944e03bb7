"""A small tokenizer from captions: byte pairs after lower-casing, so that any word of any script can be written."""

from collections.abc import Iterable
from pathlib import Path

from dense.errors import ConfigError, DataError, DependencyError
from dense.io import atomic_write, read_json

__all__ = ["LEAST_PIECES", "read_captions", "train_tokenizer"]

_SIGNS = ["[PAD]", "[BOS]"]  # the first is number 0
_BYTES = 256
LEAST_PIECES = _BYTES + len(_SIGNS)


def train_tokenizer(captions: Iterable[str], pieces: int, path: str | Path) -> int:
    """Train byte pairs on captions and write a ``tokenizer.json``; equal captions give equal files.

    Texts are brought to lower case and Unicode's NFKC, cut at spaces and punctuation, and begin with a begin sign.

    Args:
        captions: texts.
        pieces: most pieces, ``LEAST_PIECES`` or more; few captions give fewer.
        path: the file.

    Returns: pieces there are.
    Raises: ConfigError for too few pieces, DataError without captions, DependencyError without tokenizers.
    """
    if pieces < LEAST_PIECES:
        raise ConfigError(f"pieces: {pieces}, expected {LEAST_PIECES} or more (all bytes, pad and begin sign).")
    try:
        import tokenizers as library  # optional
    except ImportError as error:
        raise DependencyError("training a tokenizer needs tokenizers: pip install tokenizers") from error
    texts = [caption for caption in captions if caption.strip()]
    if not texts:
        raise DataError("captions: none, expected at least one text with a word.")
    model = library.Tokenizer(library.models.BPE())
    model.normalizer = library.normalizers.Sequence([library.normalizers.NFKC(), library.normalizers.Lowercase()])
    model.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=True)
    model.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=pieces,
        special_tokens=_SIGNS,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    begin = _SIGNS[1]
    model.post_processor = library.processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, model.token_to_id(begin))]
    )
    with atomic_write(path) as stream:
        stream.write(model.to_str(pretty=True))
    return int(model.get_vocab_size())


def read_captions(path: str | Path) -> list[str]:
    """Captions of a file: ``.txt``, one a line, or a COCO captions ``.json``.

    Raises: DataError naming the file.
    """
    file = Path(path)
    if file.suffix != ".json":
        try:
            return file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as UTF-8 text, expected one caption a line.") from error
    content = read_json(file)
    rows = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected COCO captions, {{'annotations': [{{'caption': …}}, …]}}, or a list of texts.")
    captions: list[str] = []
    for number, row in enumerate(rows):
        caption = row.get("caption") if isinstance(row, dict) else row
        if not isinstance(caption, str):
            raise DataError(f"{path}: annotations[{number}] has no text under 'caption'.")
        captions.append(caption)
    return captions
