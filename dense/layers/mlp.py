"""Feed-forward parts: a stack of linear layers with ReLU, two linear layers with GELU, and a gated pair."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MLP", "FeedForward", "GatedFeedForward", "caffe2_xavier"]


class MLP(nn.Module):
    """``num_layers`` linear layers ``input → hidden → … → output``, ReLU between them, none after the last.

    Shape: ``(…, input_dim)`` → ``(…, output_dim)``.
    """

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, num_layers: int) -> None:
        super().__init__()
        widths = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """``(…, input_dim)`` → ``(…, output_dim)``."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)  # type: ignore[no-any-return]


def caffe2_xavier(mlp: MLP) -> MLP:
    """Set weights uniform with variance 1/inputs and biases zero, in place (what Caffe2 calls Xavier); returns its argument."""
    for layer in (module for module in mlp.modules() if isinstance(module, nn.Linear)):
        nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.zeros_(layer.bias)
    return mlp


class FeedForward(nn.Module):
    """Linear, GELU, linear.

    Args:
        width: channels of input and output.
        hidden: channels between.
        dropout: probability after each linear layer.
        approximate: ``"none"`` (exact GELU) or ``"tanh"``.
    """

    def __init__(self, width: int, hidden: int, *, dropout: float = 0.0, approximate: str = "none") -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """``(…, width)`` → ``(…, width)``."""
        hidden = self.dropout(F.gelu(self.fc1(x), approximate=self.approximate))
        return self.dropout(self.fc2(hidden))  # type: ignore[no-any-return]


class GatedFeedForward(nn.Module):
    """One linear layer gives a gate and a value; SiLU(gate)·value goes through a second one (SwiGLU, Shazeer 2020).

    Args:
        width: channels of input and output.
        hidden: channels of gate and of value.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 2 * hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(…, width)`` → ``(…, width)``."""
        gate, value = self.fc1(x).chunk(2, dim=-1)
        return self.fc2(F.silu(gate) * value)  # type: ignore[no-any-return]
