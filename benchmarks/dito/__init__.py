"""Benchmarks of DITO, one file each."""

__all__: list[str] = []
