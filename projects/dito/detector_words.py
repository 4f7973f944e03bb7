"""The words of a detector: given as embeddings, or as text that its own text tower embeds when they are first needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from dense.errors import ConfigError
from dense.projects.dito.detector_rules import WordRules
from dense.projects.dito.text.cache import EmbeddingCache
from dense.projects.dito.text.encoder import TextTower
from dense.projects.dito.text.vocabulary import Vocabulary, clean_words, word_key
from dense.projects.dito.vocabulary_rows import VocabularyRows

__all__ = ["DetectorWords"]


class DetectorWords:
    """Fills the rows of a detector.

    Args:
        training: rows to learn, perhaps empty.
        searched: rows to look for, perhaps empty.
        rules: templates, cache and trained words.
    """

    def __init__(self, training: VocabularyRows, searched: VocabularyRows, rules: WordRules) -> None:
        self.training, self.searched, self.rules = training, searched, rules
        self._asked: tuple[str, ...] | None = None  # what the rows to look for were last embedded from
        self._given: tuple[Tensor, Tensor | None] | None = None  # or as which embeddings they came
        if searched.embeddings is not None:
            self._given = searched.embeddings, searched.is_base

    def give(self, embeddings: Tensor, is_base: Tensor | None) -> None:
        """Look for rows of embeddings. Raises: ConfigError for another shape."""
        self.searched.set(embeddings, is_base)
        self._given, self._asked = (embeddings, is_base), None

    def ask(self, words: Sequence[str], tower: nn.Module | None) -> tuple[str, ...]:
        """Look for words; those that were trained with boxes are marked as base.

        Returns: the words without superfluous spaces, in the order of the classes.
        Raises: ConfigError without a text tower; DataError for blank, repeated or too long words.
        """
        names = tuple(clean_words(words))
        if names != self._asked:
            found = self._embedded(names, tower)
            self.searched.set(found.embeddings, found.is_base)
            self._asked = names
        return names

    def ask_categories(self, names: Sequence[str], tower: nn.Module | None) -> None:
        """Look for the categories of a data set, unless rows were given: those it must be then.

        Raises: as ``ask``; ConfigError for another number of rows than names.
        """
        if self._given is None and tower is not None:
            self.ask(names, tower)
            return
        if self._given is not None and self._asked is not None:
            self.give(*self._given)
        known = self.searched.embeddings
        if known is not None and len(known) != len(names) + 1:
            raise ConfigError(
                f"vocabulary: {len(known) - 1} words have embeddings, but there are {len(names)} categories. Give"
                " MODEL.DITO.VOCABULARY.TEST a file with a row for each, or the model a text tower (MODEL.DITO.TEXT)."
            )

    def prepare(self, tower: nn.Module | None, *, training: bool) -> None:
        """Embed the trained words where rows are needed and there are none; the weights must be there by then."""
        rows = self.training if training else self.searched
        if rows.embeddings is None and tower is not None and self.rules.trained:
            found = self._embedded(self.rules.trained, tower)
            rows.set(found.embeddings, found.is_base)

    def _embedded(self, names: Sequence[str], tower: nn.Module | None) -> Vocabulary:
        if tower is None:
            raise ConfigError(
                "vocabulary: this detector has no text tower, so it takes embeddings only (set_vocabulary). Set"
                " MODEL.DITO.TEXT.TOKENIZER, with weights of a pretraining."
            )
        rules = self.rules
        trained = {word_key(word) for word in rules.trained}
        base = [name for name in names if word_key(name) in trained] if trained else None
        cache = EmbeddingCache(Path(rules.cache).expanduser()) if rules.cache else None
        return Vocabulary.from_words(names, cast(TextTower, tower), rules.templates, base=base, cache=cache)
