// Arithmetic of one sample of ms_deform_attn, the same for every processor: which four pixels, with which factors.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define DENSE_EVERYWHERE __host__ __device__ __forceinline__
#define DENSE_UNROLL_4 _Pragma("unroll")
#else
// Forced into its caller, it is compiled for the instruction set of the caller.
#define DENSE_EVERYWHERE __attribute__((always_inline)) inline
#define DENSE_UNROLL_4 _Pragma("GCC unroll 4")
#endif

namespace dense {

// The four pixels around a point, row by row. Pixels outside the map are moved onto it and get the factors 0.
template <typename T, typename Index>
struct Corners {
  Index pixel[4];
  T share[4];  // bilinear weight
  T by_x[4];   // its derivative by the column
  T by_y[4];   // and by the row
};

// Column or row, in pixels, of a location in [0, 1].
template <typename T, typename Index>
DENSE_EVERYWHERE T pixel_coordinate(T location, Index size) {
  return location * static_cast<T>(size) - T(0.5);
}

// False as well for a coordinate that is not a number. No integer is formed from a coordinate before this test.
template <typename T, typename Index>
DENSE_EVERYWHERE bool inside(Index height, Index width, T column, T row) {
  return column > -1 && row > -1 && column < static_cast<T>(width) && row < static_cast<T>(height);
}

// Given that the point is inside.
template <typename T, typename Index>
DENSE_EVERYWHERE Corners<T, Index> corners(Index height, Index width, T column, T row) {
  // floor, given column, row > -1
  const Index left = static_cast<Index>(column) - (column < 0), top = static_cast<Index>(row) - (row < 0);
  const T right_share = column - static_cast<T>(left), bottom_share = row - static_cast<T>(top);
  const bool has_left = left >= 0, has_top = top >= 0, has_right = left + 1 < width, has_bottom = top + 1 < height;
  const T x[2] = {has_left ? 1 - right_share : T(0), has_right ? right_share : T(0)};
  const T y[2] = {has_top ? 1 - bottom_share : T(0), has_bottom ? bottom_share : T(0)};
  const T x_slope[2] = {has_left ? T(-1) : T(0), has_right ? T(1) : T(0)};
  const T y_slope[2] = {has_top ? T(-1) : T(0), has_bottom ? T(1) : T(0)};
  const Index columns[2] = {has_left ? left : 0, has_right ? left + 1 : left};
  const Index rows[2] = {has_top ? top : 0, has_bottom ? top + 1 : top};
  Corners<T, Index> result;
  DENSE_UNROLL_4
  for (int i = 0; i < 4; ++i) {
    result.pixel[i] = rows[i / 2] * width + columns[i % 2];
    result.share[i] = y[i / 2] * x[i % 2];
    result.by_x[i] = y[i / 2] * x_slope[i % 2];
    result.by_y[i] = y_slope[i / 2] * x[i % 2];
  }
  return result;
}

}  // namespace dense
