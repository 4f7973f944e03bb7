"""Benchmarks of the custom operators, one file each."""

__all__: list[str] = []
