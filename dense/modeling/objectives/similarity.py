"""Sums over the columns of a similarity matrix, dense or in blocks of columns that are thrown away and computed again.

For ``(R, D)`` queries and ``(N, D)`` keys the dense form keeps matrices of R·N numbers for the backward pass, the form in
blocks one number per row and one block: memory O((R + N)·D + R·chunk).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Columns", "row_lse", "row_mean"]


@dataclass(frozen=True)
class Columns:
    """Which columns the sum of a row runs over; all of them by default.

    Attributes:
        drop: ``(R, E)`` indices of columns that a row leaves out, such as itself.
        mask: ``(r, n)`` bool, True = keep; repeated R / r times down and N / n times to the right (samples of several views).
        alive: ``(N,)`` bool, columns that any row sees.
        groups: ``(R,)`` and ``(N,)`` ids: a row leaves out the columns of its own id, except for the column ``always``.
        always: ``(R,)`` column index of each row.
    """

    drop: Tensor | None = None
    mask: Tensor | None = None
    alive: Tensor | None = None
    groups: tuple[Tensor, Tensor] | None = None
    always: Tensor | None = None

    def removed(self, start: int, stop: int) -> Tensor | None:
        """``(R or 1, stop - start)`` bool, True = left out for another reason than ``drop``; ``None`` = nothing is."""
        parts = []
        if self.mask is not None:
            columns = torch.arange(start, stop, device=self.mask.device) % self.mask.shape[1]
            parts.append(~self.mask[:, columns])
        if self.alive is not None:
            parts.append(~self.alive[None, start:stop])
        if self.groups is not None:
            rows, columns = self.groups
            same = rows[:, None] == columns[None, start:stop]
            if self.always is not None:
                _put(same, self.always, start, False)
            parts.append(same)
        if not parts:
            return None
        rows_of = max(len(part) for part in parts)
        whole = torch.zeros(1, stop - start, dtype=torch.bool, device=parts[0].device)
        for part in parts:
            whole = whole | part.repeat(rows_of // len(part), 1)
        return whole

    def fill(self, logits: Tensor, start: int) -> Tensor:
        """Set what is left out to minus infinity, in place. ``logits`` is ``(R, n)``, its first column number ``start``."""
        removed = self.removed(start, start + logits.shape[1])
        if removed is not None:
            logits = logits.masked_fill_(removed.repeat(len(logits) // len(removed), 1), -torch.inf)
        for index in () if self.drop is None else self.drop.unbind(1):
            _put(logits, index, start, -torch.inf)
        return logits


def _put(block: Tensor, column: Tensor, start: int, value: float) -> None:
    """Write ``value`` at each row's column where the block holds it: without asking the device how many there are."""
    index = (column - start)[:, None]
    if block.requires_grad:  # plain autograd has all columns in one block
        block.scatter_(1, index, value)
        return
    inside = (index >= 0) & (index < block.shape[1])
    index = index.clamp(0, block.shape[1] - 1)
    kept = block.gather(1, index)
    block.scatter_(1, index, torch.where(inside, torch.full_like(kept, value), kept))


def row_lse(query: Tensor, key: Tensor, scale: Tensor, columns: Columns = Columns(), *, chunk: int = 0) -> Tensor:
    """Logarithm of the sum over columns of exp(scale · query · key), per row.

    Args:
        query: ``(R, D)``.
        key: ``(N, D)``.
        scale: scalar tensor, 1 / temperature; may need a gradient.
        columns: what each row sums over.
        chunk: columns per block; 0 = all at once, by plain autograd. Blocks give first derivatives only.

    Returns: ``(R,)``; minus infinity for a row that sees no column.
    """
    if chunk > 0:
        return _RowSums.apply(query, key, scale, columns, chunk, False)[0]
    return torch.logsumexp(columns.fill(query @ key.T * scale, 0), dim=1)


def row_mean(
    query: Tensor,
    key: Tensor,
    scale: float,
    columns: Columns = Columns(),
    *,
    chunk: int = 0,
    detach: bool = False,
) -> Tensor:
    """Mean of query · key over columns, weighted by the softmax of scale · query · key, per row.

    Args:
        query: ``(R, D)``.
        key: ``(N, D)``.
        scale: sharpness of the weights; negative prefers unlike columns, 0 is the plain mean.
        columns: what each row's mean is over.
        chunk: as in ``row_lse``.
        detach: treat the weights as constants in the backward pass.

    Returns: ``(R,)``; 0 for a row that sees no column.
    """
    factor = query.new_tensor(scale)
    if chunk > 0:
        return _RowSums.apply(query, key, factor, columns, chunk, detach)[1]
    similarity = query @ key.T
    logits = columns.fill(similarity * factor, 0)
    lse = torch.logsumexp(logits, dim=1, keepdim=True)
    weights = torch.exp(logits - lse.masked_fill(torch.isneginf(lse), 0.0))
    return ((weights.detach() if detach else weights) * similarity).sum(1)


class _RowSums(torch.autograd.Function):
    """Log-sum-exp and weighted mean of each row; only these two numbers per row are kept for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  torch's own context
        query: Tensor,
        key: Tensor,
        scale: Tensor,
        columns: Columns,
        chunk: int,
        detach: bool,
    ) -> tuple[Tensor, Tensor]:
        peak = query.new_full((len(query),), -torch.inf)
        total, weighted = torch.zeros_like(peak), torch.zeros_like(peak)
        for start in range(0, len(key), chunk):
            similarity = query @ key[start : start + chunk].T
            logits = columns.fill(similarity * scale, start)
            higher = torch.maximum(peak, logits.amax(1))
            base = higher.masked_fill(torch.isneginf(higher), 0.0)
            shares, decay = logits.sub_(base[:, None]).exp_(), torch.exp(peak - base)
            total = total * decay + shares.sum(1)
            weighted = weighted * decay + torch.einsum("rn,rn->r", shares, similarity)
            peak = higher
        lse = peak + total.log()  # a row without columns: -inf + -inf
        mean = torch.where(total > 0, weighted / total, torch.zeros_like(total))
        ctx.save_for_backward(query, key, scale, lse, mean)
        ctx.columns, ctx.chunk, ctx.detach = columns, chunk, detach
        ctx.set_materialize_grads(False)
        return lse, mean

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        query, key, scale, lse, mean = ctx.saved_tensors
        for_lse, for_mean = grads
        base = lse.masked_fill(torch.isneginf(lse), 0.0)[:, None]
        for_query, for_key = torch.zeros_like(query), torch.zeros_like(key)
        for start in range(0, len(key), ctx.chunk):
            block = key[start : start + ctx.chunk]
            similarity = query @ block.T
            shares = ctx.columns.fill(similarity * scale, start).sub_(base).exp_()
            factor = similarity.new_zeros(()) if for_lse is None else (for_lse * scale)[:, None]
            if for_mean is not None:
                slope = 1.0 if ctx.detach else similarity.sub_(mean[:, None]).mul_(scale).add_(1)
                factor = factor + for_mean[:, None] * slope
            shares.mul_(factor)
            for_query.addmm_(shares, block)
            for_key[start : start + ctx.chunk] = shares.T @ query
        for_scale = None
        if ctx.needs_input_grad[2]:  # the weighted mean is the derivative of log-sum-exp for the scale; row_mean has none
            for_scale = torch.zeros_like(scale) if for_lse is None else (for_lse * mean).sum()
        return for_query, for_key, for_scale, None, None, None
