"""Parts of the training loop."""

__all__: list[str] = []
