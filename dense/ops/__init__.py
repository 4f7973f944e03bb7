"""Custom operators: a Python face each, kernels under ``csrc/``, plain PyTorch where there is no binary.

``ms_deform_attn.py``   multi-scale deformable attention: public function, checks, rules for autograd, compile, export, autocast
``reference.py``        the same in plain PyTorch: fallback, oracle, and what an exporter traces
``library.py``          loads the binaries, or keeps the reason why not: ``status()``
``cuda.py``             the binary with the CUDA kernels: does it fit, has it ever run
``build.py``            compiles the binaries: ``setup.py`` and ``python -m dense build-ops``

Read ``ms_deform_attn.py`` first.
"""

from dense.ops.library import OperatorStatus, status
from dense.ops.ms_deform_attn import ms_deform_attn
from dense.ops.reference import ms_deform_attn_reference

__all__ = ["OperatorStatus", "ms_deform_attn", "ms_deform_attn_reference", "status"]
