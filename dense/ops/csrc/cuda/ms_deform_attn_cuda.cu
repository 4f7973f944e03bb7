// CUDA kernels of multi-scale deformable attention, forward and backward: float32, float64, float16, bfloat16, any number of channels.
//
// A binary of its own (dense/ops/_C_cuda*.so), again for torch's stable ABI: it needs symbols of torch's CUDA libraries, and the CPU
// kernels must also load where torch has none. Forward is deterministic. Backward adds to the gradient of the value atomically, in an
// order that differs from run to run, unless asked to be deterministic (torch.use_deterministic_algorithms, see value_column).
//
// Shapes on the device cannot be checked without waiting for it. If they do not fit value, the kernel stops with an assertion, as
// torch's own indexing does; results are never silently wrong. Shapes on the host are checked, and need no copy.
#undef NDEBUG
#include <cassert>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <tuple>

#include <cuda_runtime.h>

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/Half.h>

#include "../ms_deform_attn_checks.h"
#include "ms_deform_attn_item.h"

namespace dense {
namespace cuda {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1 << 16;  // further items are walked to in strides
constexpr int64_t kMost = INT32_MAX;
// Channels that a thread reads at once. Backward, eight would take 215 registers and leave one block per multiprocessor.
template <typename T>
constexpr int kForwardPack = 16 / sizeof(T);
template <typename T>
constexpr int kBackwardPack = std::min<int>(4, 16 / sizeof(T));

// The lanes of one item: neighbours within a warp, so that they can exchange sums.
template <typename T>
struct WarpGroup {
  unsigned mask;
  int lane, lanes;
  T* grad_locations;
  T* grad_weights;

  template <typename S, int V>
  __device__ void add(S* to, const S (&products)[V]) const {
#if __CUDA_ARCH__ >= 900
    constexpr bool fours = sizeof(S) == 4 && V % 4 == 0;  // one transaction for four channels
#else
    constexpr bool fours = false;
#endif
    if constexpr (fours) {
      for (int v = 0; v < V; v += 4)
        atomicAdd(
            reinterpret_cast<float4*>(to + v), make_float4(products[v], products[v + 1], products[v + 2], products[v + 3]));
    } else {
      for (int v = 0; v < V; ++v) atomicAdd(to + v, products[v]);
    }
  }

  template <typename S>
  __device__ void emit(int64_t sample, S by_weight, S by_x, S by_y) const {
    for (int step = lanes / 2; step > 0; step /= 2) {
      by_weight += __shfl_xor_sync(mask, by_weight, step);
      by_x += __shfl_xor_sync(mask, by_x, step);
      by_y += __shfl_xor_sync(mask, by_y, step);
    }
    if (lane == 0) {
      grad_weights[sample] = static_cast<T>(by_weight);
      grad_locations[2 * sample] = static_cast<T>(by_x);
      grad_locations[2 * sample + 1] = static_cast<T>(by_y);
    }
  }
};

// Blocks are (lanes, items); lanes is a power of two up to 32.
__device__ int64_t first_item() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
}

__device__ int64_t item_stride() {
  return static_cast<int64_t>(gridDim.x) * blockDim.y;
}

template <typename T, int V>
__global__ void __launch_bounds__(kThreads) forward_kernel(const __grid_constant__ Task<T> task) {
  for (int64_t item = first_item(); item < task.items; item += item_stride()) {
    const bool fits = forward_item<T, V>(task, item, threadIdx.x, blockDim.x);
    assert(fits && "ms_deform_attn: spatial_shapes do not sum to the rows of value");
  }
}

template <typename T, int V>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const __grid_constant__ Task<T> task, T* grad_locations, T* grad_weights) {
  const int lanes = blockDim.x, lane = threadIdx.x;
  const int leader = (threadIdx.y * lanes) % 32;  // its place in the warp
  const unsigned mask = (lanes == 32 ? 0xffffffffu : (1u << lanes) - 1) << leader;
  const WarpGroup<T> group{mask, lane, lanes, grad_locations, grad_weights};
  for (int64_t item = first_item(); item < task.items; item += item_stride()) {
    const bool fits = backward_item<T, V>(task, item, lane, lanes, group);
    assert(fits && "ms_deform_attn: spatial_shapes do not sum to the rows of value");
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    value_kernel(const __grid_constant__ Task<T> task, Sum<T>* grad_value, int64_t columns) {
  for (int64_t index = first_item(); index < columns; index += item_stride()) {
    const bool fits = value_column<T>(task, grad_value, index);
    assert(fits && "ms_deform_attn: spatial_shapes do not sum to the rows of value");
  }
}

cudaStream_t current_stream(const Tensor& tensor) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

// Threads per item: as few as hold all packs of a head, up to a warp.
int lanes_for(int64_t channels, int pack) {
  int lanes = 1;
  while (lanes < 32 && static_cast<int64_t>(lanes) * pack < channels) lanes *= 2;
  return lanes;
}

template <typename Launch>
void for_items(int64_t items, int lanes, Launch launch) {
  if (items == 0) return;  // an empty grid is an error
  const int per_block = kThreads / lanes;
  const int64_t blocks = std::min(kMostBlocks, (items + per_block - 1) / per_block);
  launch(dim3(static_cast<unsigned>(blocks)), dim3(lanes, per_block));
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

bool in_packs(int pack, int64_t channels, std::initializer_list<const void*> arrays) {
  return channels % pack == 0 &&
      std::all_of(arrays.begin(), arrays.end(), [](const void* array) { return reinterpret_cast<uintptr_t>(array) % 16 == 0; });
}

bool same_device(const Tensor& a, const Tensor& b) {
  return a.is_cuda() && b.is_cuda() && a.get_device_index() == b.get_device_index();
}

// Contiguous arguments, kept alive, and what the kernels need to know of them.
struct Arguments {
  Tensor value, shapes, locations, weights;

  Arguments(const Tensor& value_, const Tensor& shapes_, const Tensor& locations_, const Tensor& weights_)
      : value(torch::stable::contiguous(value_)), shapes(torch::stable::contiguous(shapes_)),
        locations(torch::stable::contiguous(locations_)), weights(torch::stable::contiguous(weights_)) {
    if (shapes.is_cpu() && shapes.size(0) > Levels::kNear) {
      Tensor copy = torch::stable::new_empty(value, shapes.sizes(), ScalarType::Long);
      shapes = torch::stable::copy_(copy, shapes);
    }
  }

  template <typename T>
  Task<T> task() const {
    Task<T> task{};
    task.queries = locations.size(1), task.items = value.size(0) * task.queries * value.size(2);
    task.rows = static_cast<int32_t>(value.size(1)), task.heads = static_cast<int32_t>(value.size(2));
    task.channels = static_cast<int32_t>(value.size(3)), task.points = static_cast<int32_t>(locations.size(4));
    task.levels.count = static_cast<int32_t>(shapes.size(0));
    const int64_t* const sizes = shapes.const_data_ptr<int64_t>();
    if (shapes.is_cpu()) std::copy(sizes, sizes + 2 * task.levels.count, task.levels.near);
    else task.levels.far = sizes;
    task.value = value.const_data_ptr<T>();
    task.locations = locations.const_data_ptr<T>();
    task.weights = weights.const_data_ptr<T>();
    return task;
  }
};

void check(const Tensor& value, const Tensor& shapes, const Tensor& locations, const Tensor& weights) {
  check_arguments(value, shapes, locations, weights);
  STD_TORCH_CHECK(
      same_device(value, locations) && same_device(value, weights) && (shapes.is_cpu() || same_device(value, shapes)),
      "ms_deform_attn: sampling_locations and attention_weights must be on the device of value, spatial_shapes there or on the CPU.");
  STD_TORCH_CHECK(
      value.size(1) <= kMost && value.size(2) * value.size(3) <= kMost && shapes.size(0) <= kMost && locations.size(4) <= kMost,
      "ms_deform_attn: more than 2147483647 rows, channels, levels or points of one image. Split it.");
  if (!shapes.is_cpu()) return;
  const Tensor plain = torch::stable::contiguous(shapes);
  check_levels(plain.const_data_ptr<int64_t>(), shapes.size(0), value.size(1), [](int64_t, int64_t, int64_t) {});
}

// Calls `run` with a value of the type that `dtype` names.
template <typename Run>
void with_type(ScalarType dtype, Run run) {
  switch (dtype) {
    case ScalarType::Float: return run(float{});
    case ScalarType::Double: return run(double{});
    case ScalarType::Half: return run(torch::headeronly::Half{});
    case ScalarType::BFloat16: return run(torch::headeronly::BFloat16{});
    default: STD_TORCH_CHECK(false, "ms_deform_attn: value must be float32, float64, float16 or bfloat16 on a CUDA device.");
  }
}

template <typename T, int V>
void launch_forward(const Task<T>& task, cudaStream_t stream) {
  for_items(task.items, lanes_for(task.channels, V), [&](dim3 grid, dim3 block) {
    forward_kernel<T, V><<<grid, block, 0, stream>>>(task);
  });
}

template <typename T, int V>
void launch_backward(const Task<T>& task, T* grad_locations, T* grad_weights, cudaStream_t stream) {
  for_items(task.items, lanes_for(task.channels, V), [&](dim3 grid, dim3 block) {
    backward_kernel<T, V><<<grid, block, 0, stream>>>(task, grad_locations, grad_weights);
  });
}

Tensor forward(const Tensor& value, const Tensor& shapes, const Tensor& locations, const Tensor& weights) {
  check(value, shapes, locations, weights);
  const torch::stable::accelerator::DeviceGuard guard(value.get_device_index());
  const Arguments arguments(value, shapes, locations, weights);
  const Tensor output = torch::stable::new_empty(value, {value.size(0), locations.size(1), value.size(2) * value.size(3)});
  if (output.numel() == 0) return output;
  with_type(value.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    Task<T> task = arguments.task<T>();
    task.output = output.mutable_data_ptr<T>();
    const bool packs = in_packs(kForwardPack<T>, task.channels, {task.value, task.output});
    (packs ? launch_forward<T, kForwardPack<T>> : launch_forward<T, 1>)(task, current_stream(value));
  });
  return output;
}

std::tuple<Tensor, Tensor, Tensor> backward(
    const Tensor& grad_output, const Tensor& value, const Tensor& shapes, const Tensor& locations, const Tensor& weights,
    bool deterministic) {
  check(value, shapes, locations, weights);
  check_grad_output(grad_output, value, locations);
  STD_TORCH_CHECK(same_device(value, grad_output), "ms_deform_attn_backward: grad_output must be on the device of value.");
  const torch::stable::accelerator::DeviceGuard guard(value.get_device_index());
  const Arguments arguments(value, shapes, locations, weights);
  const Tensor gradient = torch::stable::contiguous(grad_output);
  const ScalarType dtype = value.scalar_type();
  // Half-precision sums would lose most of what is added to them.
  const Tensor sums = torch::stable::new_zeros(value, value.sizes(), dtype == ScalarType::Double ? dtype : ScalarType::Float);
  const Tensor by_locations = torch::stable::new_empty(arguments.locations, locations.sizes());
  const Tensor by_weights = torch::stable::new_empty(arguments.weights, weights.sizes());
  const cudaStream_t stream = current_stream(value);
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    Task<T> task = arguments.task<T>();
    task.grad_output = gradient.const_data_ptr<T>();
    Sum<T>* const grad_value = sums.mutable_data_ptr<Sum<T>>();
    task.grad_value = deterministic ? nullptr : grad_value;
    T* const grad_locations = by_locations.mutable_data_ptr<T>();
    T* const grad_weights = by_weights.mutable_data_ptr<T>();
    const bool packs = in_packs(kBackwardPack<T>, task.channels, {task.value, task.grad_output, grad_value});
    (packs ? launch_backward<T, kBackwardPack<T>> : launch_backward<T, 1>)(task, grad_locations, grad_weights, stream);
    if (!deterministic || task.items == 0) return;
    const int64_t columns = value.size(0) * task.levels.count * task.heads * task.channels;
    for_items(columns, 1, [&](dim3 grid, dim3 block) { value_kernel<T><<<grid, block, 0, stream>>>(task, grad_value, columns); });
  });
  return {sums.scalar_type() == dtype ? sums : torch::stable::to(sums, dtype), by_locations, by_weights};
}

}  // namespace
}  // namespace cuda
}  // namespace dense

STABLE_TORCH_LIBRARY_IMPL(dense, CUDA, m) {
  m.impl("ms_deform_attn", TORCH_BOX(&dense::cuda::forward));
  m.impl("ms_deform_attn_backward", TORCH_BOX(&dense::cuda::backward));
}
