"""Text towers of open_clip in the place of our own (Radford et al. 2021; Ilharco et al. 2021)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from dense.errors import ConfigError, DependencyError
from dense.projects.dito.text.encoder import weights_hash

__all__ = ["OpenClipText"]


class OpenClipText(nn.Module):
    """The text side of a CLIP model; the image side is not kept.

    Args:
        name: of open_clip's model, such as "ViT-B-16".
        weights: a local file with the model's weights; "" = random weights.

    Raises: DependencyError without open_clip, ConfigError for an unknown name or weights that cannot be loaded.
    """

    def __init__(self, name: str, weights: str = "") -> None:
        super().__init__()
        try:
            import open_clip  # optional, heavy
        except ImportError as error:
            raise DependencyError("CLIP text towers need open_clip: pip install open-clip-torch") from error
        if name not in open_clip.list_models():
            raise ConfigError(f"MODEL.DITO.TEXT.OPEN_CLIP.NAME: open_clip has no model {name!r}; see open_clip.list_models().")
        try:  # never the network: a file or random weights, also where the configuration names a Hugging Face model
            model = open_clip.create_model(name, pretrained=weights or None, force_custom_text=True, pretrained_hf=False)
        except (RuntimeError, OSError) as error:
            raise ConfigError(f"MODEL.DITO.TEXT.OPEN_CLIP: {name} with {weights or 'random weights'}: {error}") from error
        self.text: Any = model.text
        self.name = name
        self.tokenizer = open_clip.get_tokenizer(name)
        self.context = int(self.tokenizer.context_length or model.text.context_length)
        self.width = int(model.text.output_dim)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """See ``TextTower``."""
        device = next(self.text.parameters()).device
        return self.text(self.tokenizer(list(texts)).to(device))  # type: ignore[no-any-return]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """See ``TextTower``; begin and end sign count."""
        return [len(self.tokenizer.encode(text)) + 2 for text in texts]

    def fingerprint(self) -> str:
        """See ``TextTower``."""
        return weights_hash(self.text, self.name, self.context)
