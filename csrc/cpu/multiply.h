// Products of panel matrices, all of the form A^T B, blocked for the caches.
#pragma once

#include "cpu/panels.h"
#include "cpu/thread_pool.h"

namespace ortho::cpu {

// A slice of A and one of B of this depth stay in the first-level cache while a tile is computed.
template <typename T>
constexpr int64_t kDepth = sizeof(T) == 4 ? 256 : 192;
// Bytes of the second-level cache that a block of the streamed operand may fill.
constexpr int64_t kBlockBytes = 256 * 1024;

// Cuts `length` into equal slices near kDepth, so that no thin remainder is left.
template <typename T>
int64_t SliceDepth(int64_t length) {
  if (length <= kDepth<T> + kDepth<T> / 2) return std::max<int64_t>(length, 1);
  const int64_t slices = (length + kDepth<T> - 1) / kDepth<T>;
  return RoundUp((length + slices - 1) / slices, 16);
}

enum class Shape {
  kFull,
  kUpper
};  // kUpper: blocks on and above the diagonal; `mirror` completes them

// c = alpha a^T b + beta d. a: k x m, b: k x n, c and d: m x n; d may be c, or null without beta.
// a and b are of type T, as c is, or bfloat16 pairs; `kernels` are those that multiply them.
template <typename T, typename S, typename K>
void Multiply(const K& kernels, const Panels<S>& a, const Panels<S>& b, T alpha, const Panels<T>* d,
              T beta, const Panels<T>& c, Shape shape = Shape::kFull) {
  const int64_t width = c.width, vector = kernels.vector;
  const int64_t depth = SliceDepth<S>(a.rows);
  const int64_t block =
      std::max(width, kBlockBytes / static_cast<int64_t>(sizeof(S)) / depth / width * width);
  const bool upper = shape == Shape::kUpper;
  for (int64_t k = 0; k < a.rows; k += depth) {
    const int64_t slice = std::min(depth, a.rows - k);
    const Panels<T>* addend = k == 0 ? d : &c;
    const T weight = k == 0 ? beta : T(1);
    for (int64_t i0 = 0; i0 < c.rows; i0 += block) {
      const int64_t i1 = std::min(c.rows, i0 + block), first = upper ? i0 / width : 0;
      const S* left = a.Panel(i0) + k * width;
      const auto panel = [&](int64_t p) {
        const int64_t j = (first + p) * width, columns = std::min(width, c.columns - j);
        const S* right = b.data + (first + p) * b.panel() + k * width;
        T* result = c.data + (first + p) * c.panel();
        const T* added = addend ? addend->data + (first + p) * addend->panel() : nullptr;
        const auto rows = [&](int64_t begin, int64_t end, int64_t skip, const S* from) {
          const int64_t at = begin * width + skip;
          kernels.product(static_cast<int>((columns - skip) / vector), end - begin, slice, from,
                          a.panel(), right + skip, alpha, added ? added + at : nullptr, weight,
                          result + at);
        };
        if (!upper || i1 <= j) return rows(i0, i1, 0, left);
        rows(i0, j, 0, left);
        // In the diagonal block each vector of columns begins on the diagonal.
        const S* diagonal = a.data + (first + p) * a.panel() + k * width;
        for (int64_t v = 0; v < columns; v += vector) rows(j + v, j + v + vector, v, diagonal + v);
      };
      SplitLoop((c.columns + width - 1) / width - first,
                static_cast<double>(slice * (i1 - i0) * c.columns), panel);
    }
  }
}

// c = a^T b and c = alpha a^T b + beta d, known to be symmetric: half the tiles, then the mirror.
template <typename T>
void MultiplySymmetric(const Kernels<T>& kernels, const Panels<T>& a, const Panels<T>& b,
                       const Panels<T>& c) {
  Multiply<T>(kernels, a, b, T(1), nullptr, T(0), c, Shape::kUpper);
  kernels.mirror(c.rows, c.data);
}
template <typename T>
void MultiplySymmetric(const Kernels<T>& kernels, const Panels<T>& a, const Panels<T>& b, T alpha,
                       const Panels<T>& d, T beta, const Panels<T>& c) {
  Multiply(kernels, a, b, alpha, &d, beta, c, Shape::kUpper);
  kernels.mirror(c.rows, c.data);
}

// g = (scale x)(scale x)^T on the small side, rows and columns beyond it zero.
template <typename T>
void Gram(const Kernels<T>& kernels, const StoredMatrix& x, T scale, const Panels<T>& g,
          Scratch& scratch) {
  const size_t mark = scratch.used();
  const int64_t depth = SliceDepth<T>(x.large);
  Panels<T> slice = Panels<T>::Take(kernels, depth, g.columns, scratch);
  if (!scratch.measuring()) {
    for (int64_t l = 0; l < x.large; l += depth) {
      slice.rows = std::min(depth, x.large - l);
      Pack(kernels, x.data, x.dtype, x.stride, x.large_is_contiguous, l, slice.rows, 0, x.small,
           scale, slice);
      Multiply(kernels, slice, slice, T(1), l > 0 ? &g : nullptr, T(1), g, Shape::kUpper);
    }
    kernels.mirror(g.rows, g.data);
  }
  scratch.Release(mark);
}

// Columns of x that Apply takes at a time: what the first-level cache holds of it and of the
// result, or, where that is next to nothing, as many panels as make threads worth while.
template <typename T>
int64_t ApplyBlock(const Kernels<T>& kernels, int64_t depth, int64_t large) {
  constexpr int64_t kBytes = 16 * 1024;
  const int64_t fitting = kBytes / static_cast<int64_t>(sizeof(T)) / depth;
  const int64_t least = depth > 128 ? 8 * kernels.panel : kernels.panel;
  return RoundUp(std::min(std::max(fitting, least), large), kernels.panel);
}

// out = alpha p^T (scale x) + beta (scale x); p: small side of x times that of out. out may be x
// itself, for the columns of a block are packed before they are written. beta needs an out that is
// contiguous along the large side.
template <typename T>
void Apply(const Kernels<T>& kernels, const Panels<T>& p, T alpha, const StoredMatrix& x, T scale,
           T beta, const StoredMatrix& out, Scratch& scratch) {
  const size_t mark = scratch.used();
  const int64_t width = kernels.panel, depth = p.rows;
  const int64_t block = ApplyBlock(kernels, depth, x.large);
  Panels<T> slice = Panels<T>::Take(kernels, depth, block, scratch);
  T* room = scratch.Take<T>(RoundUp(block, width) * RoundUp(p.columns, width));
  if (!scratch.measuring()) {
    const auto store = kernels.store[static_cast<int>(out.dtype)];
    const int64_t item = ItemSize(out.dtype);
    for (int64_t l = 0; l < x.large; l += block) {
      const int64_t here = std::min(block, x.large - l);
      slice.columns = PaddedSide(kernels, here);
      Pack(kernels, x.data, x.dtype, x.stride, !x.large_is_contiguous, 0, x.small, l, here, scale,
           slice);
      // The side that is contiguous in `out` runs along the panels of the product.
      const Panels<T>& along_rows = out.large_is_contiguous ? p : slice;
      const Panels<T>& along_columns = out.large_is_contiguous ? slice : p;
      const Panels<T> product{room, along_rows.columns, along_columns.columns, width};
      Multiply(kernels, along_rows, along_columns, alpha, beta != T(0) ? &slice : nullptr, beta,
               product);
      const int64_t rows = out.large_is_contiguous ? out.small : here;
      const int64_t columns = out.large_is_contiguous ? here : out.small;
      char* origin = out.data + (out.large_is_contiguous ? l : l * out.stride) * item;
      for (int64_t c = 0; c < columns; c += width)
        store(rows, std::min(width, columns - c), product.Panel(c), width, origin + c * item,
              out.stride);
    }
  }
  scratch.Release(mark);
}

}  // namespace ortho::cpu
