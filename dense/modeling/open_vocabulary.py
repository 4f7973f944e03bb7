"""What a predictor asks of models that look for any words; a model has the protocol by having its methods."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["TakesWords"]


@runtime_checkable
class TakesWords(Protocol):
    """A model whose classes are words that are given at run time."""

    def look_for(self, words: Sequence[str]) -> tuple[str, ...]:
        """Look for these words from now on.

        Returns: the words without superfluous spaces, in the order of the classes.
        Raises: ConfigError if it has nothing to embed words with; DataError for words that are blank, repeated or too long.
        """

    def look_for_categories(self, names: Sequence[str]) -> None:
        """Look for the categories of a data set, by embeddings that its configuration has for them or else by their names.

        Raises: as ``look_for``; ConfigError if there are embeddings of another number of categories.
        """

    def word_maps(self, image: Tensor) -> Tensor:
        """How alike each place of a picture is to each word.

        Args:
            image: ``(3, h, w)`` uint8, as for the model's own input.

        Returns: ``(C, h, w)`` float32, cosines.
        """
