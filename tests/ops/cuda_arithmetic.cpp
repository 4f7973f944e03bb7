// The CUDA kernels' arithmetic on the CPU: threads become a loop, atomic additions plain ones, sums over lanes plain sums.
#include <cstdint>

#include "csrc/cuda/ms_deform_attn_item.h"

using dense::cuda::Sum;
using dense::cuda::Task;

struct Sizes {
  int64_t batch, queries, rows, heads, channels, levels, points;
};

template <typename T>
struct LoopGroup {
  Sum<T>* grad_locations;
  Sum<T>* grad_weights;

  template <int V>
  void add(Sum<T>* to, const Sum<T> (&products)[V]) const {
    for (int v = 0; v < V; ++v) to[v] += products[v];
  }

  void emit(int64_t sample, Sum<T> by_weight, Sum<T> by_x, Sum<T> by_y) const {
    grad_weights[sample] += by_weight;
    grad_locations[2 * sample] += by_x;
    grad_locations[2 * sample + 1] += by_y;
  }
};

template <typename T>
Task<T> task_of(const Sizes& sizes, const int64_t* shapes, bool far, const T* value, const T* locations, const T* weights) {
  Task<T> task{};
  task.items = sizes.batch * sizes.queries * sizes.heads, task.queries = sizes.queries;
  task.rows = static_cast<int32_t>(sizes.rows), task.heads = static_cast<int32_t>(sizes.heads);
  task.channels = static_cast<int32_t>(sizes.channels), task.points = static_cast<int32_t>(sizes.points);
  task.levels.count = static_cast<int32_t>(sizes.levels);
  if (far) task.levels.far = shapes;
  else for (int64_t i = 0; i < 2 * sizes.levels; ++i) task.levels.near[i] = shapes[i];
  task.value = value, task.locations = locations, task.weights = weights;
  return task;
}

template <typename T, int V>
int forward(
    const Sizes* sizes, int lanes, bool far, const int64_t* shapes, const T* value, const T* locations, const T* weights, T* output) {
  Task<T> task = task_of(*sizes, shapes, far, value, locations, weights);
  task.output = output;
  bool fits = true;
  for (int64_t item = 0; item < task.items; ++item)
    for (int lane = 0; lane < lanes; ++lane) fits &= dense::cuda::forward_item<T, V>(task, item, lane, lanes);
  return fits;
}

template <typename T, int V>
int backward(
    const Sizes* sizes, int lanes, bool far, const int64_t* shapes, const T* value, const T* locations, const T* weights,
    const T* grad_output, bool deterministic, Sum<T>* grad_value, Sum<T>* grad_locations, Sum<T>* grad_weights) {
  Task<T> task = task_of(*sizes, shapes, far, value, locations, weights);
  task.grad_output = grad_output;
  task.grad_value = deterministic ? nullptr : grad_value;
  const LoopGroup<T> group{grad_locations, grad_weights};
  bool fits = true;
  for (int64_t item = 0; item < task.items; ++item)
    for (int lane = 0; lane < lanes; ++lane) fits &= dense::cuda::backward_item<T, V>(task, item, lane, lanes, group);
  const int64_t columns = deterministic ? sizes->batch * sizes->levels * sizes->heads * sizes->channels : 0;
  for (int64_t index = columns - 1; index >= 0; --index) fits &= dense::cuda::value_column<T>(task, grad_value, index);
  return fits;
}

#define BOTH(NAME, T, V)                                                                                              \
  int forward_##NAME(                                                                                                 \
      const Sizes* sizes, int lanes, bool far, const int64_t* shapes, const T* value, const T* locations,             \
      const T* weights, T* output) {                                                                                  \
    return forward<T, V>(sizes, lanes, far, shapes, value, locations, weights, output);                               \
  }                                                                                                                   \
  int backward_##NAME(                                                                                                \
      const Sizes* sizes, int lanes, bool far, const int64_t* shapes, const T* value, const T* locations,             \
      const T* weights, const T* grad_output, bool deterministic, Sum<T>* grad_value, Sum<T>* grad_locations,         \
      Sum<T>* grad_weights) {                                                                                         \
    return backward<T, V>(                                                                                            \
        sizes, lanes, far, shapes, value, locations, weights, grad_output, deterministic, grad_value, grad_locations, \
        grad_weights);                                                                                                \
  }

extern "C" {
BOTH(float_1, float, 1)
BOTH(float_4, float, 4)
BOTH(double_1, double, 1)
BOTH(double_2, double, 2)
BOTH(half_1, _Float16, 1)
BOTH(half_4, _Float16, 4)
BOTH(half_8, _Float16, 8)

// What the 32-bit short cut must agree with.
int64_t divide(int64_t a, int64_t b) {
  return dense::cuda::divide(a, b);
}
}
