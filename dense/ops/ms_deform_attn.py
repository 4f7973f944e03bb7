"""Multi-scale deformable attention: the public function, its checks and its dispatch."""

from dense.ops.reference import ms_deform_attn_reference

__all__ = ["ms_deform_attn"]

ms_deform_attn = ms_deform_attn_reference
