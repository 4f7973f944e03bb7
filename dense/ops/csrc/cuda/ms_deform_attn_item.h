// What one thread of the CUDA kernels of ms_deform_attn computes. Plain C++ that a host compiler takes too: a test runs it on the CPU
// against the reference (tests/ops/test_cuda_arithmetic.py), so that only launch, shuffles and atomics need a GPU to be tried.
//
// An item is a triple (batch, query, head). `lanes` threads share it, and each takes every lanes-th pack of V channels.
#pragma once

#include <cstdint>

#include "../ms_deform_attn_corners.h"

namespace dense {
namespace cuda {

// float16 and bfloat16 are summed in float32.
template <typename T>
struct SumOf {
  using type = float;
};
template <>
struct SumOf<double> {
  using type = double;
};
template <typename T>
using Sum = typename SumOf<T>::type;

// Sizes of the levels: by value if they are known on the host, which costs no copy; else read from the device.
struct Levels {
  static constexpr int kNear = 16;
  int64_t near[2 * kNear];
  const int64_t* far;  // null: near holds them
  int32_t count;

  DENSE_EVERYWHERE int64_t size(int32_t level, int axis) const { return far ? far[2 * level + axis] : near[2 * level + axis]; }
};

// Sizes of one image fit 32 bits (checked on the host); everything that grows with the batch has 64.
template <typename T>
struct Task {
  int64_t items, queries;  // B·Q·M, Q
  int32_t rows, heads, channels, points;
  Levels levels;
  const T* value;
  const T* locations;
  const T* weights;
  T* output;
  const T* grad_output;  // this and the rest: backward only
  Sum<T>* grad_value;    // zeroed by the caller; null in backward_item: leave it to value_column
};

template <typename T, int V>
struct alignas(sizeof(T) * V) Pack {
  T channel[V];
};

template <int V, typename T>
DENSE_EVERYWHERE void load(const T* from, Sum<T> (&to)[V]) {
  const Pack<T, V> pack = *reinterpret_cast<const Pack<T, V>*>(from);
  for (int v = 0; v < V; ++v) to[v] = static_cast<Sum<T>>(pack.channel[v]);
}

// Division of 64-bit numbers is slow on a GPU, and they are seldom that large.
DENSE_EVERYWHERE int64_t divide(int64_t a, int64_t b) {
  return (a | b) >> 32 ? a / b : static_cast<int64_t>(static_cast<uint32_t>(a) / static_cast<uint32_t>(b));
}

// Walks over the levels. `next` is false if the level does not fit into what is left of the rows: wrong spatial_shapes.
struct LevelWalk {
  int32_t height = 0, width = 0, start = 0, end = 0;

  DENSE_EVERYWHERE bool next(const Levels& levels, int32_t level, int32_t rows) {
    const int64_t h = levels.size(level, 0), w = levels.size(level, 1);
    const bool empty = h == 0 || w == 0;
    if (h < 0 || w < 0 || (!empty && (h > rows || w > rows || h * w > rows - end))) return false;
    height = empty ? 0 : static_cast<int32_t>(h), width = empty ? 0 : static_cast<int32_t>(w);
    start = end, end += height * width;
    return true;
  }
};

template <typename S>
DENSE_EVERYWHERE S not_a_number(S x, S y) {
  return x != x || y != y ? x + y : S(0);
}

// Returns false, with the output not written, if the levels do not sum to the rows.
template <typename T, int V>
DENSE_EVERYWHERE bool forward_item(const Task<T>& task, int64_t item, int lane, int lanes) {
  using S = Sum<T>;
  const int64_t query = divide(item, task.heads), samples = static_cast<int64_t>(task.levels.count) * task.points;
  const int32_t head = static_cast<int32_t>(item - query * task.heads), stride = task.heads * task.channels;
  const T* const image = task.value + divide(query, task.queries) * task.rows * stride + head * task.channels;
  for (int32_t c = lane * V; c < task.channels; c += lanes * V) {  // one round, unless a head is very wide
    const T* location = task.locations + item * samples * 2;
    const T* weight_at = task.weights + item * samples;
    S total[V] = {};
    S poison = 0;  // weights that are not a number count outside the map too, or a diverged network would look healthy
    LevelWalk level;
    for (int32_t l = 0; l < task.levels.count; ++l) {
      if (!level.next(task.levels, l, task.rows)) return false;
      const T* const map = image + static_cast<int64_t>(level.start) * stride + c;
      for (int32_t p = 0; p < task.points; ++p, location += 2, ++weight_at) {
        const S x = static_cast<S>(location[0]), y = static_cast<S>(location[1]), weight = static_cast<S>(*weight_at);
        const S column = pixel_coordinate(x, level.width), row = pixel_coordinate(y, level.height);
        if (!inside(level.height, level.width, column, row) || level.start == level.end) {
          poison += weight * not_a_number(x, y);
          continue;
        }
        const Corners<S, int32_t> at = corners(level.height, level.width, column, row);
        DENSE_UNROLL_4
        for (int i = 0; i < 4; ++i) {
          S pixel[V];
          load<V>(map + static_cast<int64_t>(at.pixel[i]) * stride, pixel);
          for (int v = 0; v < V; ++v) total[v] += weight * at.share[i] * pixel[v];
        }
      }
    }
    if (level.end != task.rows) return false;
    Pack<T, V> pack;
    for (int v = 0; v < V; ++v) pack.channel[v] = static_cast<T>(total[v] + poison);
    *reinterpret_cast<Pack<T, V>*>(task.output + query * stride + head * task.channels + c) = pack;
  }
  return true;
}

// `group.add(to, products)` adds V products to the gradient of the value; `group.emit(sample, ...)` sums the shares of all lanes in the
// gradients of one weight and one location. All lanes of a group call emit equally often.
template <typename T, int V, typename Group>
DENSE_EVERYWHERE bool backward_item(const Task<T>& task, int64_t item, int lane, int lanes, const Group& group) {
  using S = Sum<T>;
  const int64_t query = divide(item, task.heads);
  const int32_t head = static_cast<int32_t>(item - query * task.heads), stride = task.heads * task.channels;
  const int64_t image = divide(query, task.queries) * task.rows * stride + head * task.channels;
  const T* const grad_output = task.grad_output + query * stride + head * task.channels;
  int64_t sample = item * task.levels.count * task.points;
  S first[V] = {};  // kept for all samples; a wide head has more packs, which are read anew
  if (lane * V < task.channels) load<V>(grad_output + lane * V, first);
  LevelWalk level;
  for (int32_t l = 0; l < task.levels.count; ++l) {
    if (!level.next(task.levels, l, task.rows)) return false;
    const int64_t map = image + static_cast<int64_t>(level.start) * stride;
    for (int32_t p = 0; p < task.points; ++p, ++sample) {
      const S x = static_cast<S>(task.locations[2 * sample]), y = static_cast<S>(task.locations[2 * sample + 1]);
      const S column = pixel_coordinate(x, level.width), row = pixel_coordinate(y, level.height);
      S by_weight = 0, by_x = 0, by_y = 0;
      if (inside(level.height, level.width, column, row) && level.start != level.end) {
        const Corners<S, int32_t> at = corners(level.height, level.width, column, row);
        const S weight = static_cast<S>(task.weights[sample]);
        for (int32_t c = lane * V; c < task.channels; c += lanes * V) {
          S gradient[V];
          if (c == lane * V) for (int v = 0; v < V; ++v) gradient[v] = first[v];
          else load<V>(grad_output + c, gradient);
          DENSE_UNROLL_4
          for (int i = 0; i < 4; ++i) {
            const int64_t place = map + static_cast<int64_t>(at.pixel[i]) * stride + c;
            S pixel[V], product = 0;
            load<V>(task.value + place, pixel);
            for (int v = 0; v < V; ++v) product += pixel[v] * gradient[v];
            by_weight += at.share[i] * product;
            by_x += at.by_x[i] * product;
            by_y += at.by_y[i] * product;
            if (task.grad_value && at.share[i] != 0) {
              for (int v = 0; v < V; ++v) pixel[v] = weight * at.share[i] * gradient[v];
              group.add(task.grad_value + place, pixel);
            }
          }
        }
        by_x *= weight * static_cast<S>(level.width);
        by_y *= weight * static_cast<S>(level.height);
      }
      group.emit(sample, by_weight, by_x, by_y);
    }
  }
  return level.end == task.rows;
}

// The gradient of the value in a fixed order, much more slowly: one thread owns one channel of one (batch, level, head) and walks all
// queries, so that it needs no atomic additions and gives the same bits every time. `index` < B·L·M·C.
template <typename T>
DENSE_EVERYWHERE bool value_column(const Task<T>& task, Sum<T>* grad_value, int64_t index) {
  using S = Sum<T>;
  const int32_t stride = task.heads * task.channels;
  const int64_t map_index = divide(index, stride), image = divide(map_index, task.levels.count);
  const int32_t place = static_cast<int32_t>(index - map_index * stride), head = place / task.channels;
  const int32_t wanted = static_cast<int32_t>(map_index - image * task.levels.count);
  LevelWalk level;
  for (int32_t l = 0; l <= wanted; ++l)
    if (!level.next(task.levels, l, task.rows)) return false;
  if (level.start == level.end) return true;
  S* const map = grad_value + (image * task.rows + level.start) * stride + place;
  for (int64_t query = image * task.queries; query < (image + 1) * task.queries; ++query) {
    const S gradient = static_cast<S>(task.grad_output[query * stride + place]);
    const int64_t first = ((query * task.heads + head) * task.levels.count + wanted) * task.points;
    for (int64_t sample = first; sample < first + task.points; ++sample) {
      const S column = pixel_coordinate(static_cast<S>(task.locations[2 * sample]), level.width);
      const S row = pixel_coordinate(static_cast<S>(task.locations[2 * sample + 1]), level.height);
      if (!inside(level.height, level.width, column, row)) continue;
      const Corners<S, int32_t> at = corners(level.height, level.width, column, row);
      const S weight = static_cast<S>(task.weights[sample]);
      for (int i = 0; i < 4; ++i)
        if (at.share[i] != 0) map[static_cast<int64_t>(at.pixel[i]) * stride] += weight * at.share[i] * gradient;
    }
  }
  return true;
}

}  // namespace cuda
}  // namespace dense
