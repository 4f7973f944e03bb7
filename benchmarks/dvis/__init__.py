"""Benchmarks of DVIS++, one file each."""

__all__: list[str] = []
