"""Texts → piece numbers, by SentencePiece or ``tokenizers`` files (DITO §3.9: begin sign, no end sign, lower case)."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dense.config.reader import shipped_config
from dense.errors import ConfigError, DataError, DependencyError

__all__ = ["PAD", "JsonTokenizer", "SentencePieceTokenizer", "Tokenizer", "Tokens", "load_tokenizer"]

PAD = 0  # fills rows; what it stands for does not matter, lengths tell which numbers count

_END_SIGNS = ("</s>", "[EOS]", "[SEP]", "<|endoftext|>", "<end_of_text>")


@dataclass(frozen=True)
class Tokens:
    """Piece numbers of N texts.

    Attributes:
        ids: ``(N, L)`` int64, filled up with ``PAD``; L is that of the longest text.
        lengths: ``(N,)`` int64, 1 or more.
    """

    ids: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> "Tokens":
        """The same on a device."""
        return Tokens(self.ids.to(device, non_blocking=True), self.lengths.to(device, non_blocking=True))


class Tokenizer(ABC):
    """Texts → piece numbers, cut to a context.

    Args:
        context: most numbers of a text, signs at its ends included.

    Attributes:
        pieces: numbers there are, 0 to ``pieces`` - 1.
        end: number of the sign at the end of each text, ``None`` = there is none; a text that is cut keeps it.
        unknown: number for what the vocabulary cannot write, ``None`` = it can write everything.
        fingerprint: of the file and the context, hexadecimal.
    """

    def __init__(self, content: bytes, context: int, pieces: int) -> None:
        if context < 2:
            raise ConfigError(f"context: {context}, expected 2 or more (a begin sign and a piece).")
        self.context, self.pieces = context, pieces
        self.end: int | None = None
        self.unknown: int | None = None
        self.fingerprint = hashlib.sha256(b"%d\0" % context + content).hexdigest()

    @abstractmethod
    def numbers(self, texts: Sequence[str]) -> list[list[int]]:
        """Numbers of each text with its signs, as long as they are."""

    def encode(self, texts: Sequence[str]) -> Tokens:
        """Numbers of N texts, each cut to the context. An empty text has its signs alone.

        Raises: DataError if a text has no number at all (empty, and the file adds no sign).
        """
        rows = [self._cut(row) for row in self.numbers(texts)]
        for text, row in zip(texts, rows, strict=True):
            if not row:
                raise DataError(f"text {text!r}: has no pieces, and the tokenizer adds no sign. Give it a word.")
        ids = torch.full((len(rows), max(map(len, rows), default=1)), PAD)
        for line, row in zip(ids, rows, strict=True):
            line[: len(row)] = torch.tensor(row)
        return Tokens(ids, torch.tensor([len(row) for row in rows], dtype=torch.long))

    def _cut(self, row: list[int]) -> list[int]:
        if len(row) <= self.context:
            return row
        return row[: self.context] if self.end is None else [*row[: self.context - 1], self.end]


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece ``.model``; texts are lower-cased and begin with its begin sign.

    Args:
        path: the file.
        context: see ``Tokenizer``.
        end: also put its end sign at the end (DITO's has none there).

    Raises: DataError for an unreadable file or one without these signs, DependencyError without sentencepiece.
    """

    def __init__(self, path: str | Path, context: int = 64, *, end: bool = False) -> None:
        try:
            import sentencepiece  # optional
        except ImportError as error:
            raise DependencyError(f"{path}: SentencePiece models need sentencepiece: pip install sentencepiece") from error
        content = _read(path)
        self.model = sentencepiece.SentencePieceProcessor()
        try:
            self.model.LoadFromSerializedProto(content)
        except RuntimeError as error:
            raise DataError(f"{path}: no SentencePiece model, expected a file of sentencepiece's trainer.") from error
        super().__init__(content + bytes([end]), context, self.model.vocab_size())
        self.begin, self.unknown = self.model.bos_id(), self.model.unk_id()
        if self.begin < 0 or (end and self.model.eos_id() < 0):
            raise DataError(f"{path}: the model has no {'begin' if self.begin < 0 else 'end'} sign, which texts need here.")
        if end:
            self.end = self.model.eos_id()

    def numbers(self, texts: Sequence[str]) -> list[list[int]]:
        """See ``Tokenizer``."""
        tail = [] if self.end is None else [self.end]
        return [[self.begin, *row, *tail] for row in self.model.encode([text.lower() for text in texts])]


class JsonTokenizer(Tokenizer):
    """A ``tokenizer.json`` of the library ``tokenizers``; case and signs are as the file says.

    Args:
        path: the file.
        context: see ``Tokenizer``.

    Raises: DataError for an unreadable file, DependencyError without tokenizers.
    """

    def __init__(self, path: str | Path, context: int = 64) -> None:
        try:
            import tokenizers  # optional
        except ImportError as error:
            raise DependencyError(f"{path}: tokenizer.json files need tokenizers: pip install tokenizers") from error
        content = _read(path)
        try:
            self.model: Any = tokenizers.Tokenizer.from_str(content.decode())
        except Exception as error:
            raise DataError(f"{path}: no tokenizer.json, expected a file of the library tokenizers.") from error
        self.model.no_padding()
        self.model.no_truncation()
        super().__init__(content, context, self.model.get_vocab_size())
        self.unknown = next((i for i in map(self.model.token_to_id, ("[UNK]", "<unk>")) if i is not None), None)
        last = self.model.encode("a").ids[-1:]
        signs = [self.model.token_to_id(sign) for sign in _END_SIGNS]
        self.end = last[0] if last and last[0] in signs else None

    def numbers(self, texts: Sequence[str]) -> list[list[int]]:
        """See ``Tokenizer``."""
        return [found.ids for found in self.model.encode_batch_fast(list(texts))]


def load_tokenizer(path: str | Path, context: int = 64, *, end: bool = False) -> Tokenizer:
    """The tokenizer of a file.

    Args:
        path: SentencePiece ``.model`` or ``tokenizer.json``; names ``configs/…`` also find files that come with the toolbox.
        context: most numbers of a text.
        end: see ``SentencePieceTokenizer``; a ``.json`` says so itself.

    Raises: DataError naming the file, DependencyError naming the library.
    """
    file = shipped_config(path)
    if file.suffix == ".model":
        return SentencePieceTokenizer(file, context, end=end)
    if file.suffix == ".json":
        return JsonTokenizer(file, context)
    raise DataError(f"{path}: unknown kind of tokenizer, expected a SentencePiece .model or a tokenizer.json.")


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}). Give a SentencePiece .model or a tokenizer.json."
        ) from error
