// What the inner loops of ms_deform_attn get: sizes, levels and raw pointers to contiguous arrays.
#pragma once

#include <cstdint>
#include <vector>

namespace dense {

struct Level {
  int64_t height, width, start;  // start: row of value at which the level begins
};

template <typename T>
struct Problem {
  int64_t batch, rows, heads, channels, queries, points;  // B, S, M, C, Q, P
  std::vector<Level> levels;                              // L
  const T* value;      // (B, S, M, C)
  const T* locations;  // (B, Q, M, L, P, 2)
  const T* weights;    // (B, Q, M, L, P)
  T* output;           // (B, Q, M, C), forward only
  const T* grad_output;  // (B, Q, M, C); this and the rest: backward only
  T* grad_value;         // (B, S, M, C), zeroed by the caller
  T* grad_locations;
  T* grad_weights;
};

// Work on items [begin, end): pairs (batch, query) forward, triples (batch, head, level) backward.
template <typename T>
using RangeKernel = void (*)(const Problem<T>&, int64_t begin, int64_t end);

}  // namespace dense
