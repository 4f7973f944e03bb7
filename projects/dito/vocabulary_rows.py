"""The words a detector scores, as rows of text embeddings: background first, then one row per class."""

from typing import Protocol

import torch
from torch import Tensor, nn

from dense.errors import ConfigError

__all__ = ["EmbeddedWords", "VocabularyRows"]


class EmbeddedWords(Protocol):
    """Words with their text embeddings."""

    @property
    def embeddings(self) -> Tensor:
        """``(C + 1, D)``, background first."""

    @property
    def is_base(self) -> Tensor | None:
        """``(C,)`` bool, or ``None``."""


class VocabularyRows(nn.Module):
    """Rows of text embeddings that follow the model to its device and are in no state dict; empty until they are set.

    Args:
        width: D of the embeddings.
    """

    embeddings: Tensor | None
    is_base: Tensor | None

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("embeddings", None, persistent=False)
        self.register_buffer("is_base", None, persistent=False)

    def set(self, embeddings: Tensor, is_base: Tensor | None = None) -> None:
        """Take new rows.

        Args:
            embeddings: ``(C + 1, D)`` in any float type, row 0 background; they need not be normalised.
            is_base: ``(C,)`` bool, the classes seen in training; ``None`` = nobody knows.

        Raises: ConfigError for another shape or values that are not finite.
        """
        if embeddings.dim() != 2 or embeddings.shape[1] != self.width or not len(embeddings):
            raise ConfigError(
                f"vocabulary: embeddings of shape {list(embeddings.shape)}, expected (classes + 1, {self.width}) with the"
                " background in row 0. Were they made for another model?"
            )
        if not torch.isfinite(embeddings).all():
            raise ConfigError("vocabulary: embeddings that are not finite. Make them anew.")
        if is_base is not None and is_base.shape != (len(embeddings) - 1,):
            raise ConfigError(f"vocabulary: {list(is_base.shape)} base marks for {len(embeddings) - 1} classes.")
        device = next((b.device for b in (self.embeddings, self.is_base) if b is not None), embeddings.device)
        self.embeddings = embeddings.detach().to(device, torch.float32)
        self.is_base = None if is_base is None else is_base.detach().to(device, torch.bool)

    def rows(self, device: torch.device) -> Tensor:
        """``(C + 1, D)`` on this device. Raises: ConfigError before there are any."""
        if self.embeddings is None:
            raise ConfigError(
                "vocabulary: the detector has none. Give MODEL.DITO.VOCABULARY.TRAIN (and .TEST) a file of text embeddings,"
                " or call set_vocabulary."
            )
        return self.embeddings.to(device)

    def learnt(self, device: torch.device, everything: bool) -> Tensor:
        """``(C + 1,)`` bool: background and base classes; all rows if nobody knows which are base, or if ``everything``."""
        rows = self.rows(device)
        if self.is_base is None or everything:
            return torch.ones(len(rows), dtype=torch.bool, device=device)
        return torch.cat([self.is_base.new_ones(1), self.is_base]).to(device)
