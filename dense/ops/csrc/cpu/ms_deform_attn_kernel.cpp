// CPU kernels of multi-scale deformable attention, forward and backward, float32 and float64.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include "../ms_deform_attn_checks.h"
#include "../ms_deform_attn_corners.h"
#include "ms_deform_attn_problem.h"

// The loops are compiled twice, and the processor is asked which set it has: a wheel built on a new machine runs on an old one.
// AVX-512 was tried and no faster: a head of 32 channels fits four AVX registers and the loads are scattered.
#define DENSE_ISA baseline
#define DENSE_TARGET
#include "ms_deform_attn_loops.inl"
#undef DENSE_ISA
#undef DENSE_TARGET

#if defined(__x86_64__)
#define DENSE_ISA avx2
#define DENSE_TARGET __attribute__((target("avx2,fma")))
#include "ms_deform_attn_loops.inl"
#undef DENSE_ISA
#undef DENSE_TARGET
#endif

namespace dense {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t kWorthAThread = 1 << 15;  // multiplications below which a second thread costs more than it brings

bool has_avx2() {
#if defined(__x86_64__)
  static const bool answer = [] {
    const char* const wish = std::getenv("ATEN_CPU_CAPABILITY");  // torch's own switch: "default" means no vector extensions
    return !(wish && std::strcmp(wish, "default") == 0) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  }();
  return answer;
#else
  return false;
#endif
}

template <typename T>
RangeKernel<T> pick_forward(int64_t channels) {
#if defined(__x86_64__)
  if (has_avx2()) return avx2::forward_kernel<T>(channels);
#endif
  return baseline::forward_kernel<T>(channels);
}

template <typename T>
RangeKernel<T> pick_backward(int64_t channels) {
#if defined(__x86_64__)
  if (has_avx2()) return avx2::backward_kernel<T>(channels);
#endif
  return baseline::backward_kernel<T>(channels);
}

std::vector<Level> checked_levels(
    const Tensor& value, const Tensor& shapes, const Tensor& locations, const Tensor& weights) {
  check_arguments(value, shapes, locations, weights);
  STD_TORCH_CHECK(
      shapes.is_cpu() && locations.is_cpu() && weights.is_cpu(),
      "ms_deform_attn: value is on the CPU, so spatial_shapes, sampling_locations and attention_weights must be, too.");
  const Tensor plain = torch::stable::contiguous(shapes);
  std::vector<Level> levels;
  check_levels(plain.const_data_ptr<int64_t>(), shapes.size(0), value.size(1), [&](int64_t height, int64_t width, int64_t start) {
    levels.push_back({height, width, start});
  });
  return levels;
}

template <typename T>
Problem<T> problem_of(const Tensor& value, const Tensor& locations, const Tensor& weights, std::vector<Level> levels) {
  Problem<T> problem{};
  problem.batch = value.size(0), problem.rows = value.size(1), problem.heads = value.size(2), problem.channels = value.size(3);
  problem.queries = locations.size(1), problem.points = locations.size(4);
  problem.levels = std::move(levels);
  problem.value = value.const_data_ptr<T>();
  problem.locations = locations.const_data_ptr<T>();
  problem.weights = weights.const_data_ptr<T>();
  return problem;
}

template <typename T>
void run(const Problem<T>& problem, RangeKernel<T> kernel, int64_t items, int64_t work_per_item) {
  const int64_t grain = std::max<int64_t>(1, kWorthAThread / std::max<int64_t>(1, work_per_item));
  torch::stable::parallel_for(0, items, grain, [&](int64_t begin, int64_t end) { kernel(problem, begin, end); });
}

template <typename T>
void forward_as(Problem<T> problem, Tensor& output) {
  problem.output = output.mutable_data_ptr<T>();
  const int64_t samples = problem.heads * static_cast<int64_t>(problem.levels.size()) * problem.points;
  run(problem, pick_forward<T>(problem.channels), problem.batch * problem.queries, samples * problem.channels * 4);
}

template <typename T>
void backward_as(Problem<T> problem, const Tensor& grad_output, Tensor& by_value, Tensor& by_locations, Tensor& by_weights) {
  problem.grad_output = grad_output.const_data_ptr<T>();
  problem.grad_value = by_value.mutable_data_ptr<T>();
  problem.grad_locations = by_locations.mutable_data_ptr<T>();
  problem.grad_weights = by_weights.mutable_data_ptr<T>();
  const int64_t items = problem.batch * problem.heads * static_cast<int64_t>(problem.levels.size());
  run(problem, pick_backward<T>(problem.channels), items, problem.queries * problem.points * problem.channels * 8);
}

void check_dtype(const Tensor& value) {
  STD_TORCH_CHECK(
      value.scalar_type() == ScalarType::Float || value.scalar_type() == ScalarType::Double,
      "ms_deform_attn: value must be float32 or float64 on the CPU.");
}

Tensor forward(const Tensor& value, const Tensor& shapes, const Tensor& locations, const Tensor& weights) {
  check_dtype(value);
  std::vector<Level> levels = checked_levels(value, shapes, locations, weights);
  const Tensor v = torch::stable::contiguous(value), p = torch::stable::contiguous(locations), w = torch::stable::contiguous(weights);
  Tensor output = torch::stable::new_empty(v, {v.size(0), p.size(1), v.size(2) * v.size(3)});
  if (output.numel() == 0) return output;
  if (v.scalar_type() == ScalarType::Float) forward_as(problem_of<float>(v, p, w, std::move(levels)), output);
  else forward_as(problem_of<double>(v, p, w, std::move(levels)), output);
  return output;
}

std::tuple<Tensor, Tensor, Tensor> backward(
    const Tensor& grad_output, const Tensor& value, const Tensor& shapes, const Tensor& locations, const Tensor& weights,
    bool /*deterministic*/) {  // it always is
  check_dtype(value);
  std::vector<Level> levels = checked_levels(value, shapes, locations, weights);
  check_grad_output(grad_output, value, locations);
  STD_TORCH_CHECK(grad_output.is_cpu(), "ms_deform_attn_backward: value is on the CPU, so grad_output must be, too.");
  const Tensor g = torch::stable::contiguous(grad_output), v = torch::stable::contiguous(value);
  const Tensor p = torch::stable::contiguous(locations), w = torch::stable::contiguous(weights);
  Tensor by_value = torch::stable::new_zeros(v, v.sizes());
  Tensor by_locations = torch::stable::new_empty(p, p.sizes()), by_weights = torch::stable::new_empty(w, w.sizes());
  if (v.scalar_type() == ScalarType::Float)
    backward_as(problem_of<float>(v, p, w, std::move(levels)), g, by_value, by_locations, by_weights);
  else
    backward_as(problem_of<double>(v, p, w, std::move(levels)), g, by_value, by_locations, by_weights);
  return {by_value, by_locations, by_weights};
}

}  // namespace
}  // namespace dense

STABLE_TORCH_LIBRARY_IMPL(dense, CPU, m) {
  m.impl("ms_deform_attn", TORCH_BOX(&dense::forward));
  m.impl("ms_deform_attn_backward", TORCH_BOX(&dense::backward));
}
