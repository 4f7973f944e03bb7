"""Text encoder of DITO's dual encoder (§3.9), and what every text tower offers."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from dense.config.checks import check_choice
from dense.errors import ConfigError
from dense.layers import FeedForward, VisionBlock
from dense.projects.dito.text.tokenizer import Tokenizer, Tokens

__all__ = ["POOLS", "TextEncoder", "TextTower", "embed_texts", "weights_hash"]

POOLS = ("mean", "last", "eos")

_BATCH = 256  # texts that are embedded together for a vocabulary


@runtime_checkable
class TextTower(Protocol):
    """What makes embeddings of texts."""

    width: int
    """Numbers of an embedding."""
    context: int
    """Most pieces of a text; the rest is cut off."""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """``(N, width)``, not of unit length."""

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Pieces of each text before anything is cut off."""

    def fingerprint(self) -> str:
        """Another one for other weights, another tokenizer or other settings."""


class TextEncoder(nn.Module):
    """Pre-norm transformer over pieces; pool, norm, linear projection.

    Texts of one call are padded to the longest of them, not to the context; padding is never attended to, so the embedding of a
    text does not depend on its neighbours.

    Args:
        tokenizer: ``None`` = to be set as ``tokenizer`` before the first text.
        pieces: rows of the table of pieces.
        context: most pieces of a text.
        width: channels.
        depth: blocks.
        heads: attention heads.
        embedding: width of the result, that of the image side.
        pool: "mean" over the pieces of the text; "last" = its last piece; "eos" = its end sign, which the tokenizer must add.
        causal: pieces attend to themselves and earlier ones only.

    Raises: ConfigError for another pool, or a tokenizer that does not fit.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | None = None,
        *,
        pieces: int = 64_000,
        context: int = 64,
        width: int = 512,
        depth: int = 12,
        heads: int = 8,
        embedding: int = 768,
        pool: str = "mean",
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.pool, self.causal, self.width, self.context = check_choice("pool", pool, POOLS), causal, embedding, context
        self.pieces = nn.Embedding(pieces, width)
        self.pos_embed = nn.Parameter(torch.empty(context, width))
        self.blocks = nn.ModuleList(VisionBlock(width, heads, FeedForward(width, 4 * width)) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.projection = nn.Linear(width, embedding, bias=False)
        self._initialise(width, depth)
        self.tokenizer = tokenizer
        if tokenizer is not None:
            self._check(tokenizer)

    def _initialise(self, width: int, depth: int) -> None:
        """Normal, as in CLIP: pieces 0.02, positions 0.01; what adds to the residual is scaled down with the depth."""
        nn.init.normal_(self.pieces.weight, std=0.02)
        nn.init.normal_(self.pos_embed, std=0.01)
        nn.init.normal_(self.projection.weight, std=width**-0.5)
        for name, module in self.blocks.named_modules():
            if isinstance(module, nn.Linear):
                adds = name.endswith(("proj", "fc2"))
                deviation = width**-0.5 * ((2 * depth) ** -0.5 if adds else 1.0 if name.endswith("qkv") else 2**-0.5)
                nn.init.normal_(module.weight, std=deviation)
                nn.init.zeros_(module.bias)

    def _check(self, tokenizer: Tokenizer) -> None:
        if tokenizer.pieces > self.pieces.num_embeddings:
            raise ConfigError(
                f"tokenizer: {tokenizer.pieces} pieces, but the text encoder has {self.pieces.num_embeddings}."
                " Set MODEL.DITO.TEXT.PIECES to as many."
            )
        if tokenizer.context > self.context:
            raise ConfigError(f"tokenizer: texts of {tokenizer.context} pieces, but the text encoder takes {self.context}.")
        if self.pool == "eos" and tokenizer.end is None:
            raise ConfigError("pool: 'eos', but the tokenizer adds no end sign. Use 'mean' or 'last', or another tokenizer.")

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of N texts, ``(N, embedding)``, not of unit length.

        Raises: ConfigError without a tokenizer.
        """
        tokens = self._tokenizer().encode(texts)
        return self.embed(tokens.to(self.pos_embed.device))

    def embed(self, tokens: Tokens) -> Tensor:
        """The same of pieces."""
        count = tokens.ids.shape[1]
        places = torch.arange(count, device=tokens.ids.device)
        inside = places < tokens.lengths[:, None]  # (N, L)
        # A causal row never sees the padding behind its text, so it needs no mask.
        mask = None if self.causal else inside[:, None, None, :]
        x = self.pieces(tokens.ids) + self.pos_embed[:count]
        for block in self.blocks:
            x = block(x, mask=mask, causal=self.causal)
        return self.projection(self.norm(self._pooled(x, inside, tokens)))  # type: ignore[no-any-return]

    def _pooled(self, x: Tensor, inside: Tensor, tokens: Tokens) -> Tensor:
        """``(N, L, C)`` → ``(N, C)``."""
        if self.pool == "mean":
            weights = inside.to(x.dtype)
            return torch.einsum("nl,nlc->nc", weights, x) / weights.sum(1, keepdim=True)
        place = tokens.lengths - 1
        if self.pool == "eos":
            place = (inside & (tokens.ids == self._tokenizer().end)).int().argmax(1)  # the first
        return x[torch.arange(len(x), device=x.device), place]

    def _tokenizer(self) -> Tokenizer:
        if self.tokenizer is None:
            raise ConfigError("MODEL.DITO.TEXT.TOKENIZER: empty, expected a SentencePiece .model or a tokenizer.json.")
        return self.tokenizer

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """See ``TextTower``."""
        return [len(row) for row in self._tokenizer().numbers(texts)]

    def fingerprint(self) -> str:
        """See ``TextTower``."""
        return weights_hash(self, self.pool, self.causal, self._tokenizer().fingerprint)


def weights_hash(module: nn.Module, *settings: Any) -> str:  # noqa: ANN401
    """SHA-256 of a module's state and of further plain settings."""
    digest = hashlib.sha256(json.dumps(settings).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


@torch.no_grad()
def embed_texts(tower: TextTower, texts: Sequence[str], batch: int = _BATCH) -> Tensor:
    """Embeddings of many texts without gradients, ``(N, width)`` float32 on the CPU; texts of one length go together."""
    lengths = tower.lengths(texts)
    order = sorted(range(len(texts)), key=lengths.__getitem__)
    found = torch.empty(len(texts), tower.width)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        found[chosen] = tower([texts[k] for k in chosen]).float().cpu()
    return found
