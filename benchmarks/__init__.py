"""Benchmarks: each figure of ours beside a peer's and beside what the machine allows.

``python -m benchmarks [NAME ...]``   all, or some such as ``ops.ms_deform_attn``: verifies that outputs agree, then times
``python -m benchmarks.report``     writes RESULTS.md from the JSON files in ``results/``
``case.py``      what a benchmark file exports by ``cases()``
``measure.py``   time, peak memory, and the machine: bandwidth, multiply-add peak, header
``ops/``         custom operators
"""

__all__: list[str] = []
