"""Benchmarks of pretraining."""

__all__: list[str] = []
