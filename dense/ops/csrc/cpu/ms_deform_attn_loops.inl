// Inner loops of ms_deform_attn. Included once per instruction set, with DENSE_ISA (a namespace) and DENSE_TARGET (a function
// attribute) defined. Pointers and sizes are copied into locals: a store through memcpy may alias anything that has an address.
//
// N > 0: the C channels of a head are N packs of 32 bytes held in registers. N = 0: any C, loops left to the compiler.

namespace dense {
namespace DENSE_ISA {
namespace {

constexpr int64_t kAhead = 8;  // queries to prefetch: one head's entries lie too far apart for the hardware to guess (twice as fast)

#define DENSE_INLINE __attribute__((always_inline)) inline DENSE_TARGET

template <typename T>
struct PackOf {
  typedef T type __attribute__((vector_size(32)));
  static constexpr int lanes = 32 / sizeof(T);
};
template <typename T>
using Pack = typename PackOf<T>::type;

template <typename T>
DENSE_INLINE Pack<T> load(const T* from) {
  Pack<T> pack;
  __builtin_memcpy(&pack, from, sizeof(pack));  // rows need not be aligned
  return pack;
}

template <typename T>
DENSE_INLINE void store(T* to, const Pack<T>& pack) {
  __builtin_memcpy(to, &pack, sizeof(pack));
}

template <typename T>
DENSE_INLINE T sum(const Pack<T>& pack) {
  typedef T Half __attribute__((vector_size(16)));
  Half low, high;
  __builtin_memcpy(&low, &pack, 16);
  __builtin_memcpy(&high, reinterpret_cast<const char*>(&pack) + 16, 16);
  low += high;
  if constexpr (sizeof(T) == 8) return low[0] + low[1];
  else return (low[0] + low[2]) + (low[1] + low[3]);
}

template <typename T, int N>
DENSE_TARGET void forward_range(const Problem<T>& problem, int64_t begin, int64_t end) {
  constexpr int lanes = PackOf<T>::lanes;
  const int64_t channels = N ? N * lanes : problem.channels, stride = problem.heads * channels;
  const int64_t level_count = static_cast<int64_t>(problem.levels.size()), samples = level_count * problem.points;
  for (int64_t item = begin; item < end; ++item) {
    const T* const image = problem.value + item / problem.queries * problem.rows * stride;
    for (int64_t head = 0; head < problem.heads; ++head) {
      const T* location = problem.locations + (item * problem.heads + head) * samples * 2;
      const T* weight = problem.weights + (item * problem.heads + head) * samples;
      T* const output = problem.output + item * stride + head * channels;
      Pack<T> total[N ? N : 1] = {};
      if constexpr (N == 0) for (int64_t c = 0; c < channels; ++c) output[c] = 0;
      T poison = 0;  // weights that are not a number count outside the map too, or a diverged network would look healthy
      for (const Level* level = problem.levels.data(); level != problem.levels.data() + level_count; ++level) {
        const T* const map = image + level->start * stride + head * channels;
        for (int64_t point = 0; point < problem.points; ++point, location += 2, ++weight) {
          const T column = pixel_coordinate(location[0], level->width), row = pixel_coordinate(location[1], level->height);
          if (!inside(level->height, level->width, column, row) || level->width * level->height == 0) {
            poison += *weight * (location[0] != location[0] || location[1] != location[1] ? location[0] + location[1] : T(0));
            continue;
          }
          const Corners<T, int64_t> at = corners(level->height, level->width, column, row);
          const T* const p0 = map + at.pixel[0] * stride;
          const T* const p1 = map + at.pixel[1] * stride;
          const T* const p2 = map + at.pixel[2] * stride;
          const T* const p3 = map + at.pixel[3] * stride;
          const T s0 = *weight * at.share[0], s1 = *weight * at.share[1], s2 = *weight * at.share[2], s3 = *weight * at.share[3];
          if constexpr (N == 0) {
            T* __restrict__ const to = output;
            for (int64_t c = 0; c < channels; ++c) to[c] += (s0 * p0[c] + s1 * p1[c]) + (s2 * p2[c] + s3 * p3[c]);
          } else {
#pragma GCC unroll 8
            for (int n = 0; n < N; ++n) {
              total[n] += s0 * load(p0 + n * lanes);
              total[n] += s1 * load(p1 + n * lanes);
              total[n] += s2 * load(p2 + n * lanes);
              total[n] += s3 * load(p3 + n * lanes);
            }
          }
        }
      }
      if constexpr (N == 0) {
        for (int64_t c = 0; c < channels; ++c) output[c] += poison;
      } else {
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) store(output + n * lanes, total[n] + poison);
      }
    }
  }
}

// One pixel: its product with the gradient of the output (returned), and its share of the gradient of the value.
template <typename T, int N>
DENSE_INLINE T visit_pixel(const T* from, T* to, T factor, const Pack<T>* gradient, const T* grad_output, int64_t channels) {
  if constexpr (N == 0) {
    T product = 0;
    T* __restrict__ const target = to;
    for (int64_t c = 0; c < channels; ++c) product += from[c] * grad_output[c];
    for (int64_t c = 0; c < channels; ++c) target[c] += factor * grad_output[c];
    return product;
  } else {
    constexpr int lanes = PackOf<T>::lanes;
    Pack<T> product = {};
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      product += load(from + n * lanes) * gradient[n];
      store(to + n * lanes, load(to + n * lanes) + factor * gradient[n]);
    }
    return sum<T>(product);
  }
}

// Copy one head's pixels of a level; strides are in elements.
template <typename T, int N>
DENSE_TARGET void copy_pixels(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t pixels, int64_t channels) {
  if constexpr (N > 0) channels = N * PackOf<T>::lanes;
  for (int64_t pixel = 0; pixel < pixels; ++pixel)
    __builtin_memcpy(to + pixel * to_stride, from + pixel * from_stride, channels * sizeof(T));
}

// Each (batch, head, level) owns its pixels of grad_value and its entries of the other two gradients, and walks the queries in
// order: no atomic additions, and the same sums whatever the number of threads.
template <typename T, int N>
DENSE_TARGET void backward_range(const Problem<T>& problem, int64_t begin, int64_t end) {
  constexpr int lanes = PackOf<T>::lanes;
  const int64_t channels = N ? N * lanes : problem.channels, heads = problem.heads, stride = heads * channels;
  const int64_t level_count = static_cast<int64_t>(problem.levels.size()), points = problem.points, queries = problem.queries;
  T* const grad_locations = problem.grad_locations;
  T* const grad_weights = problem.grad_weights;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t index = item % level_count, head = item / level_count % heads, image = item / level_count / heads;
    const Level level = problem.levels[index];
    const int64_t map = (image * problem.rows + level.start) * stride + head * channels;
    const int64_t pixels = level.height * level.width;
    // The pixels of one head lie a power of two apart and would share a few sets of the cache: work on a dense copy (a fifth
    // faster), unless there are so few samples that copying costs more.
    const bool dense_copy = heads > 1 && queries * points > pixels;
    std::vector<T> copy(dense_copy ? 2 * pixels * channels : 0);
    if (dense_copy) copy_pixels<T, N>(problem.value + map, stride, copy.data(), channels, pixels, channels);
    const T* const value = dense_copy ? copy.data() : problem.value + map;
    T* const grad_value = dense_copy ? copy.data() + pixels * channels : problem.grad_value + map;
    const int64_t pixel_stride = dense_copy ? channels : stride;
    for (int64_t query = image * queries; query < (image + 1) * queries; ++query) {
      const T* const grad_output = problem.grad_output + query * stride + head * channels;
      Pack<T> gradient[N ? N : 1];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) gradient[n] = load(grad_output + n * lanes);
      const int64_t first = ((query * heads + head) * level_count + index) * points;
      const int64_t later = first + kAhead * heads * level_count * points;
      __builtin_prefetch(problem.locations + 2 * later);
      __builtin_prefetch(problem.weights + later);
      __builtin_prefetch(grad_output + kAhead * stride);
      __builtin_prefetch(grad_output + kAhead * stride + 64 / sizeof(T));
      __builtin_prefetch(grad_locations + 2 * later, 1);
      __builtin_prefetch(grad_weights + later, 1);
      for (int64_t sample = first; sample < first + points; ++sample) {
        const T* const location = problem.locations + 2 * sample;
        T by_weight = 0, by_x = 0, by_y = 0;
        const T column = pixel_coordinate(location[0], level.width), row = pixel_coordinate(location[1], level.height);
        if (inside(level.height, level.width, column, row) && level.width * level.height != 0) {
          const Corners<T, int64_t> at = corners(level.height, level.width, column, row);
          const T weight = problem.weights[sample];
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) {
            const int64_t pixel = at.pixel[i] * pixel_stride;
            const T product = visit_pixel<T, N>(value + pixel, grad_value + pixel, weight * at.share[i], gradient, grad_output, channels);
            by_weight += at.share[i] * product;
            by_x += at.by_x[i] * product;
            by_y += at.by_y[i] * product;
          }
          by_x *= weight * static_cast<T>(level.width);
          by_y *= weight * static_cast<T>(level.height);
        }
        grad_weights[sample] = by_weight;
        grad_locations[2 * sample] = by_x;
        grad_locations[2 * sample + 1] = by_y;
      }
    }
    if (dense_copy) copy_pixels<T, N>(grad_value, channels, problem.grad_value + map, stride, pixels, channels);
  }
}

template <typename T>
RangeKernel<T> forward_kernel(int64_t channels) {
  constexpr int lanes = PackOf<T>::lanes;
  switch (channels) {
    case lanes: return forward_range<T, 1>;
    case 2 * lanes: return forward_range<T, 2>;
    case 4 * lanes: return forward_range<T, 4>;
    case 8 * lanes: return forward_range<T, 8>;
    default: return forward_range<T, 0>;
  }
}

template <typename T>
RangeKernel<T> backward_kernel(int64_t channels) {
  constexpr int lanes = PackOf<T>::lanes;
  switch (channels) {
    case lanes: return backward_range<T, 1>;
    case 2 * lanes: return backward_range<T, 2>;
    case 4 * lanes: return backward_range<T, 4>;
    case 8 * lanes: return backward_range<T, 8>;
    default: return backward_range<T, 0>;
  }
}

#undef DENSE_INLINE

}  // namespace
}  // namespace DENSE_ISA
}  // namespace dense
