"""Captions with two words of one kind swapped, which are no longer true (NegCLIP's hard negatives; Yuksekgonul et al. 2023)."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

import torch
from torch import Tensor

from dense.errors import ConfigError

__all__ = ["HardCaptions"]

_PATTERN = re.compile(r"\bin ([\w-]+) and ([\w-]+)")  # the two colours of one thing: their order says nothing
_JOINTS = re.compile(r",| and ")


class HardCaptions:
    """Caption → M false versions of it, each with two words of one group swapped.

    A swap that says the same in another order is none: "a red star and a blue star" with its colours swapped.

    Args:
        groups: words that may take each other's place, such as colours, or shapes in the singular.
        count: M.

    Raises: ConfigError for no group, a word in two groups, or M below 1.
    """

    def __init__(self, groups: Iterable[Iterable[str]], count: int = 1) -> None:
        self.group: dict[str, int] = {}
        for number, words in enumerate(groups):
            for word in words:
                if self.group.setdefault(word.lower(), number) != number:
                    raise ConfigError(f"MODEL.DITO.PRETRAIN.SWAP_GROUPS: {word!r} is in two groups, expected one.")
        if not self.group or count < 1:
            raise ConfigError("MODEL.DITO.PRETRAIN.SWAP_GROUPS: no words, or HARD_CAPTIONS below 1. Name words to be swapped.")
        self.count = count

    def versions(self, caption: str) -> list[str]:
        """Every false version, in the order of the places swapped."""
        parts = re.findall(r"[\w-]+|[^\w-]+", caption)
        places = [k for k, part in enumerate(parts) if part.lower() in self.group]
        found: dict[str, None] = {}
        for a, b in combinations(places, 2):
            first, second = parts[a].lower(), parts[b].lower()
            if first == second or self.group[first] != self.group[second]:
                continue
            swapped = list(parts)
            swapped[a], swapped[b] = parts[b], parts[a]
            text = "".join(swapped)
            if _meaning(text) != _meaning(caption):
                found[text] = None
        return list(found)

    def __call__(self, captions: Sequence[str]) -> tuple[list[str], Tensor]:
        """M versions of each caption, drawn by torch's generator on the CPU.

        Returns: N·M texts, those of the first caption first, and ``(N, M)`` bool, True = there is such a version; the others
            are repetitions of the caption, to be left out.
        """
        texts, mask = [], torch.zeros(len(captions), self.count, dtype=torch.bool)
        for row, caption in zip(mask, captions, strict=True):
            versions = self.versions(caption)
            chosen = [versions[k] for k in torch.randperm(len(versions))[: self.count].tolist()]
            row[: len(chosen)] = True
            texts += [*chosen, *[caption] * (self.count - len(chosen))]
        return texts, mask


def _meaning(caption: str) -> Counter[str]:
    """Phrases of a list, whatever their order; a sentence that is no list is one phrase."""
    plain = _PATTERN.sub(lambda found: "in " + "+".join(sorted(found.groups())), caption.lower().rstrip(". "))
    return Counter(re.sub(r"^(an?|the) ", "", phrase.strip()) for phrase in _JOINTS.split(plain))
