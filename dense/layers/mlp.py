"""Stack of linear layers with ReLU between them (none after the last)."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MLP", "caffe2_xavier"]


class MLP(nn.Module):
    """``num_layers`` linear layers ``input → hidden → … → output``.

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
