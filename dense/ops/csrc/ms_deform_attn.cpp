// Schema of multi-scale deformable attention; kernels lie under cpu/ and cuda/.
//
// Written for torch's stable ABI (torch/csrc/stable), which since 2.10 has all the operator needs, parallel_for included: one
// binary serves every torch from TORCH_TARGET_VERSION (set in dense/ops/build.py) on. Fake kernel, autograd and autocast rules are
// in Python (dense/ops/ms_deform_attn.py), since the stable ABI has no autograd.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_FRAGMENT(dense, m) {
  m.def(
      "ms_deform_attn(Tensor value, Tensor spatial_shapes, Tensor sampling_locations, Tensor attention_weights) -> Tensor");
  m.def(
      "ms_deform_attn_backward(Tensor grad_output, Tensor value, Tensor spatial_shapes, Tensor sampling_locations, "
      "Tensor attention_weights, bool deterministic=False) -> (Tensor, Tensor, Tensor)");
}
