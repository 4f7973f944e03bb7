"""Benchmarks of the evaluators, one file each; each peer is the formula as loops, which tests use as oracle too."""

__all__: list[str] = []
