"""Custom operators."""

from dense.ops.ms_deform_attn import ms_deform_attn
from dense.ops.reference import ms_deform_attn_reference

__all__ = ["ms_deform_attn", "ms_deform_attn_reference"]
