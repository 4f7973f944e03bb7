// What every kernel of ms_deform_attn demands of its arguments. Python checks first and speaks better; these stand between a direct
// call of torch.ops and a read past the end.
#pragma once

#include <cstdint>

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

namespace dense {

inline void check_arguments(
    const torch::stable::Tensor& value, const torch::stable::Tensor& shapes, const torch::stable::Tensor& locations,
    const torch::stable::Tensor& weights) {
  STD_TORCH_CHECK(
      value.dim() == 4 && shapes.dim() == 2 && locations.dim() == 6 && weights.dim() == 5,
      "ms_deform_attn: value, spatial_shapes, sampling_locations, attention_weights have ", value.dim(), ", ", shapes.dim(), ", ",
      locations.dim(), ", ", weights.dim(), " dimensions. Expected 4, 2, 6, 5.");
  STD_TORCH_CHECK(
      shapes.scalar_type() == torch::headeronly::ScalarType::Long && shapes.size(1) == 2,
      "ms_deform_attn: spatial_shapes must be int64, of shape (L, 2).");
  STD_TORCH_CHECK(
      locations.scalar_type() == value.scalar_type() && weights.scalar_type() == value.scalar_type(),
      "ms_deform_attn: value, sampling_locations and attention_weights must have one dtype.");
  STD_TORCH_CHECK(
      locations.size(0) == value.size(0) && locations.size(2) == value.size(2) && locations.size(3) == shapes.size(0) &&
          locations.size(5) == 2,
      "ms_deform_attn: sampling_locations do not fit value and spatial_shapes: expected (B, Q, M, L, P, 2).");
  for (int64_t i = 0; i < 5; ++i)
    STD_TORCH_CHECK(
        weights.size(i) == locations.size(i), "ms_deform_attn: attention_weights have size ", weights.size(i), " in dimension ", i,
        " but sampling_locations ", locations.size(i), ".");
}

inline void check_grad_output(
    const torch::stable::Tensor& grad_output, const torch::stable::Tensor& value, const torch::stable::Tensor& locations) {
  STD_TORCH_CHECK(
      grad_output.dim() == 3 && grad_output.scalar_type() == value.scalar_type() && grad_output.size(0) == value.size(0) &&
          grad_output.size(1) == locations.size(1) && grad_output.size(2) == value.size(2) * value.size(3),
      "ms_deform_attn_backward: grad_output must be (B, Q, M*C), of the dtype of value.");
}

// ``sizes``: (H, W) of ``count`` levels, in memory of the host. Calls ``take(height, width, start)`` for each, in order.
template <typename Take>
void check_levels(const int64_t* sizes, int64_t count, int64_t rows, Take take) {
  int64_t start = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t height = sizes[2 * i], width = sizes[2 * i + 1];
    // A level larger than what is left cannot be right; tested by division, since the product may overflow.
    STD_TORCH_CHECK(
        height >= 0 && width >= 0 && (height == 0 || width <= (rows - start) / height),
        "ms_deform_attn: value has ", rows, " rows but spatial_shapes need more: level ", i, " is ", height, "x", width, ".");
    take(height, width, start);
    start += height * width;
  }
  STD_TORCH_CHECK(start == rows, "ms_deform_attn: value has ", rows, " rows but spatial_shapes sum to ", start, ".");
}

}  // namespace dense
