"""Contrast of the refiner's embeddings: against other objects, and look-alikes of earlier videos (DVIS++)."""

from collections.abc import Callable

import torch
from torch import Tensor

from dense.errors import shown
from dense.projects.dvis.contrast.items import ContrastItem, contrastive_losses, other_rows

__all__ = ["ClassMemory", "MemoryContrast"]


class ClassMemory:
    """Embeddings of earlier videos by class, a limited number of each; not shared between processes.

    Args:
        limit: embeddings kept per class.
        permute: gives a permutation of n; what is forgotten is random.
    """

    def __init__(self, limit: int = 20, permute: Callable[[int], Tensor] = torch.randperm) -> None:
        self.limit, self.permute = limit, permute
        self.stored: dict[int, Tensor] = {}

    def get(self, label: int) -> Tensor | None:
        """``(n, C)``, or ``None`` if nothing of the class is stored."""
        return self.stored.get(label)

    def push(self, label: int, embeddings: Tensor) -> None:
        """Add ``(n, C)`` without their graph; ``trim`` brings the class back to its limit."""
        known = self.stored.get(label)
        fresh = embeddings.detach().clone()  # a view would keep, and bring into checkpoints, the whole clip
        self.stored[label] = fresh if known is None else torch.cat((known.to(fresh), fresh))

    def state_dict(self) -> dict[int, Tensor]:
        """What is stored, on the CPU."""
        return {label: embeddings.cpu() for label, embeddings in self.stored.items()}

    def load_state_dict(self, state: dict[int, Tensor]) -> None:
        """Store that instead; tensors go where the embeddings that are added lie. Raises: ValueError for anything else."""
        for label, embeddings in state.items():
            if type(label) is not int or not isinstance(embeddings, Tensor) or embeddings.dim() != 2:
                raise ValueError(f"memory of class {shown(label)}: expected embeddings (n, C)")
        self.stored = dict(state)

    def trim(self) -> None:
        """Forget at random what is above the limit."""
        for label, embeddings in self.stored.items():
            if len(embeddings) > self.limit:
                order = self.permute(len(embeddings)).to(embeddings.device)
                self.stored[label] = embeddings[order[-self.limit :]]


class MemoryContrast:
    """Builds the items of one clip, then remembers its objects."""

    def __init__(self, memory: ClassMemory | None = None) -> None:
        self.memory = ClassMemory() if memory is None else memory

    def __call__(self, embeddings: Tensor, slots: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of one clip (see ``contrastive_losses``).

        Args:
            embeddings: the refiner's, ``(T, Q, C)``.
            slots: query of each matched object, ``(N,)`` int64.
            labels: its class, ``(N,)`` int64.
        """
        losses = contrastive_losses(*self.items(embeddings, slots, labels))
        for q, label in zip(slots.tolist(), labels.tolist(), strict=True):
            self.memory.push(label, embeddings[:, q])
        self.memory.trim()
        return losses

    def items(self, embeddings: Tensor, slots: Tensor, labels: Tensor) -> tuple[list[ContrastItem], Tensor]:
        """One or two items per frame and object: against the frame's other objects, and against the memory of its class.

        Returns: items, and the bank of their rows: the clip's embeddings and, after them, what is remembered.
        """
        frames, queries = embeddings.shape[:2]
        bank, look_alikes = [embeddings.flatten(0, 1)], {}
        for label in dict.fromkeys(labels.tolist()):
            stored = self.memory.get(label)
            if stored is not None:
                first = sum(map(len, bank))
                look_alikes[label] = torch.arange(first, first + len(stored))
                bank.append(stored.to(embeddings))
        items = []
        for t in range(frames):
            for q, label in zip(slots.tolist(), labels.tolist(), strict=True):
                positives = torch.arange(frames) * queries + q
                items.append(ContrastItem(t * queries + q, positives, other_rows(t, queries, q)))
                if label in look_alikes:
                    items.append(ContrastItem(t * queries + q, positives, look_alikes[label]))
        return items, torch.cat(bank)
