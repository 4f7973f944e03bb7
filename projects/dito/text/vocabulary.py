"""``Vocabulary``: the words a detector is asked to find, as text embeddings with the background first (DITO §3.8, §9)."""

import logging
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dense.config.checks import check_choice
from dense.errors import DataError, shown
from dense.projects.dito.text.cache import EmbeddingCache
from dense.projects.dito.text.embedding_files import read_embeddings, write_embeddings
from dense.projects.dito.text.encoder import TextTower, embed_texts
from dense.projects.dito.text.prompts import TEMPLATES, fill

__all__ = ["BACKGROUND", "Vocabulary", "clean_words", "word_key"]

logger = logging.getLogger(__name__)

BACKGROUND = "."  # the word of the background (reference); it goes through the templates like others
_DUPLICATES = ("error", "drop", "keep")
_WORDS = 64  # words that are embedded before the cache is written


@dataclass(frozen=True)
class Vocabulary:
    """C words and their embeddings.

    Attributes:
        names: of the C words, without the background; class ``c`` of a detection is ``names[c]``.
        embeddings: ``(C + 1, D)`` float32 on the CPU, not of unit length; row 0 is the background.
        is_base: ``(C,)`` bool, True = trained with boxes; ``None`` = nobody says, all count as novel.

    Raises: DataError if they do not fit together or are not finite.
    """

    names: tuple[str, ...]
    embeddings: Tensor
    is_base: Tensor | None = None

    def __post_init__(self) -> None:
        if self.embeddings.dim() != 2 or len(self.embeddings) != len(self.names) + 1:
            raise DataError(
                f"embeddings: {list(self.embeddings.shape)} for {len(self.names)} names, expected ({len(self.names) + 1}, D):"
                " a row for the background, then one per name."
            )
        if not bool(self.embeddings.isfinite().all()):
            row = int((~self.embeddings.isfinite()).any(1).int().argmax())
            raise DataError(f"embeddings: row {row} ({self.names[row - 1] if row else 'background'}) is not finite.")
        if self.is_base is not None and (self.is_base.dtype != torch.bool or self.is_base.shape != (len(self.names),)):
            raise DataError(
                f"is_base: {self.is_base.dtype} {list(self.is_base.shape)}, expected bool ({len(self.names)},), one per name."
            )

    def __len__(self) -> int:
        """C, the background not counted."""
        return len(self.names)

    @classmethod
    def from_words(
        cls,
        words: Sequence[str],
        tower: TextTower,
        templates: Sequence[str] = TEMPLATES["imagenet"],
        *,
        base: Collection[str] | None = None,
        duplicates: str = "error",
        cache: EmbeddingCache | None = None,
    ) -> "Vocabulary":
        """Embed words: the mean over the templates, each encoded by itself, none brought to unit length before.

        Args:
            words: see ``clean_words``; none at all gives the background alone.
            tower: makes the embeddings.
            templates: sentences with a place ``{}``.
            base: the words that were trained with boxes.
            duplicates: of words equal but for case and spaces: "error"; "drop" = all but the first, which renumbers the classes
                behind; "keep" = both, which then share the score.
            cache: where embeddings are looked up and kept.

        Raises: DataError for a blank, repeated or too long word, or a base word that is not among them.
        """
        names = clean_words(words, duplicates)
        known = None if base is None else {word_key(word) for word in base}
        if known is not None and known - {word_key(name) for name in names}:
            lost = sorted(known - {word_key(name) for name in names})
            raise DataError(f"base: {lost[0]!r} is not among the words ({len(lost)} such). Correct the list.")
        rows = _embedded([BACKGROUND, *names], tower, tuple(templates), cache)
        is_base = None if known is None else torch.tensor([word_key(name) in known for name in names], dtype=torch.bool)
        return cls(tuple(names), rows, is_base)

    @classmethod
    def from_file(cls, path: str | Path, names: Sequence[str] | None = None) -> "Vocabulary":
        """Precomputed embeddings (see ``read_embeddings``), row 0 the background.

        Args:
            path: .npy, .npz or .safetensors.
            names: instead of the file's own.

        Raises: DataError naming the file.
        """
        stored = read_embeddings(path)
        listed = stored.names if names is None else list(names)
        if listed is None:
            raise DataError(f"{path}: has no names. Put {Path(path).stem}.names.txt beside it, one a line, or pass them.")
        try:
            is_base = None if stored.is_base is None else torch.from_numpy(stored.is_base)
            return cls(tuple(listed), torch.from_numpy(stored.rows), is_base)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write a ``.safetensors`` for ``from_file``."""
        write_embeddings(path, self.embeddings.numpy(), self.names, None if self.is_base is None else self.is_base.numpy())

    def padded(self, rows: int, empty: Tensor) -> Tensor:
        """Embeddings of fixed size for an exported detector: ``(rows, D)``, filled up with ``empty`` ``(D,)``.

        Raises: DataError if there are more words than places.
        """
        missing = rows - len(self.embeddings)
        if missing < 0:
            raise DataError(f"vocabulary: {len(self)} words and the background, but there are {rows} places.")
        return torch.cat([self.embeddings, empty.to(self.embeddings).expand(missing, -1)])


def clean_words(words: Sequence[str], duplicates: str = "error") -> list[str]:
    """Words without spaces around them, with single spaces inside, in Unicode's composed form.

    Args:
        words: any text in any script.
        duplicates: see ``Vocabulary.from_words``.

    Raises: DataError naming the place of a word that is blank, no text, or there twice.
    """
    check_choice("duplicates", duplicates, _DUPLICATES)
    if isinstance(words, str):
        raise DataError(f"words: one text {shown(words)}, expected a list of words.")
    found: list[str] = []
    first: dict[str, int] = {}
    for place, word in enumerate(words):
        if not isinstance(word, str):
            raise DataError(f"words[{place}]: {shown(word)}, expected a text.")
        clean = unicodedata.normalize("NFC", " ".join(word.split()))
        if not any(letter.isprintable() and not letter.isspace() for letter in clean):
            raise DataError(f"words[{place}]: blank, expected a word. Remove it.")
        before = first.setdefault(word_key(clean), place)
        if before != place and duplicates == "error":
            raise DataError(
                f"words[{place}]: {shown(clean)} is words[{before}] again. Remove one, or ask to drop or keep both."
            )
        if before != place and duplicates == "drop":
            continue
        found.append(clean)
    return found


def word_key(word: str) -> str:
    """What two words have in common that count as the same: letters but for case and spaces."""
    return unicodedata.normalize("NFC", " ".join(word.split())).lower()


def _embedded(words: list[str], tower: TextTower, sentences: tuple[str, ...], cache: EmbeddingCache | None) -> Tensor:
    """``(len(words), D)``, from the cache as far as it has them."""
    path = None if cache is None else cache.path(tower.fingerprint(), sentences)
    known = {} if cache is None or path is None else cache.read(path)
    keys = [word_key(word) for word in words]
    missing = [key for key in dict.fromkeys(keys) if key not in known]
    _check_lengths(missing, tower, sentences)
    for start in range(0, len(missing), _WORDS):
        chosen = missing[start : start + _WORDS]
        texts = [text for word in chosen for text in fill(sentences, word)]
        rows = embed_texts(tower, texts).unflatten(0, (len(chosen), len(sentences))).mean(1)
        known |= dict(zip(chosen, rows.numpy(), strict=True))
    if cache is not None and path is not None and missing:
        cache.add(path, {word: known[word] for word in missing})
    return torch.stack([torch.from_numpy(known[key]) for key in keys])


def _check_lengths(words: Sequence[str], tower: TextTower, sentences: Sequence[str]) -> None:
    """Refuse words whose end would be cut off in the longest template: two of them could look the same."""
    for word in words:
        texts = fill(sentences, word)
        length = max(tower.lengths(texts))
        if length > tower.context:
            raise DataError(
                f"word {shown(word)}: {length} pieces with its template, but the text encoder reads {tower.context}."
                " Shorten it or use shorter templates."
            )
