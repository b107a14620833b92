#include "cpu/range.h"

namespace ortho::cpu {
namespace {

// Gram-Schmidt on the rows of a. lengths[i] becomes the length of row i, less what lies along the
// rows before it. Taking that away leaves rounding of its own size along them, which is much where
// little else remains: each row goes through again until it keeps half of its length.
void Orthonormalize(const Kernels<double>& k, int64_t rows, int64_t n, double* a, double* lengths) {
  constexpr int kMostPasses = 8;
  for (int64_t i = 0; i < rows; ++i) {
    double* row = a + i * n;
    lengths[i] = 1;
    for (int pass = 0;; ++pass) {
      const double length = std::sqrt(k.dot(n, row, row));
      lengths[i] *= length;
      k.combine(n, 1 / length, row, 0.0, nullptr, row);
      if (pass == kMostPasses || (pass > 0 && length > 0.5)) break;
      for (int64_t j = 0; j < i; ++j)
        k.combine(n, 1.0, row, -k.dot(n, a + j * n, row), a + j * n, row);
    }
  }
}

// columns(r, i) = rows[i][r], and back.
void ToColumns(const double* rows, const Panels<double>& columns) {
  for (int64_t i = 0; i < kNullBlock; ++i, rows += columns.rows) {
    double* column = columns.At(0, i);
    for (int64_t r = 0; r < columns.rows; ++r) column[r * columns.width] = rows[r];
  }
}

void ToRows(const Panels<double>& columns, double* rows) {
  for (int64_t i = 0; i < kNullBlock; ++i, rows += columns.rows) {
    const double* column = columns.At(0, i);
    for (int64_t r = 0; r < columns.rows; ++r) rows[r] = column[r * columns.width];
  }
}

// a = L Q by Gram-Schmidt on rows, a <- Q. Row by row L has the accuracy of a, and with it the
// singular values and the left singular vectors of a, in far shorter rows.
void LowerFactor(const Kernels<double>& k, int64_t rows, int64_t n, double* a, double* l) {
  std::fill(l, l + rows * rows, 0.0);
  for (int64_t i = 0; i < rows; ++i) {
    double* row = a + i * n;
    for (int64_t j = 0; j < i; ++j) {
      const double overlap = l[i * rows + j] = k.dot(n, a + j * n, row);
      k.combine(n, 1.0, row, -overlap, a + j * n, row);
    }
    const double norm = l[i * rows + i] = std::sqrt(k.dot(n, row, row));
    k.combine(n, norm > 0 ? 1 / norm : 0, row, 0.0, nullptr, row);
  }
}

}  // namespace

bool FindNullDirections(const KernelTable& table, const GramWorkspace<double>& ws,
                        const StoredMatrix& x, double scale, double threshold, NullDirections* null,
                        Scratch& scratch) {
  const Kernels<double>& k = table.f64;
  const int64_t side = ws.w.rows;
  double* block = null->block;
  uint32_t state = 7;
  for (int64_t i = 0; i < kNullBlock * side; ++i) {
    state = state * 1664525u + 1013904223u;
    block[i] = static_cast<double>(state) / 4294967296.0 - 0.5;
  }
  for (int64_t i = 0; i < kNullBlock; ++i)  // the padding stays out of it
    std::fill(block + i * side + x.small, block + (i + 1) * side, 0.0);
  // Inverse iteration. The growth of its rows tells what it has come to: those that grow as only a
  // null direction can are parted from the rest by the ratio to the least growth, once with each
  // product. Most gradients have a wide gap, and two products will do; six have to.
  constexpr int kMostProducts = 6;
  constexpr double kParted = 1e12;
  double growth[kNullBlock];
  for (int product = 1; product <= kMostProducts; ++product) {
    ToColumns(block, null->columns);
    Multiply<double>(k, ws.w, null->columns, 1.0, nullptr, 0.0, null->product);
    ToRows(null->product, block);
    Orthonormalize(k, kNullBlock, side, block, growth);
    double least_null = INFINITY;
    for (const double length : growth)
      if (length * threshold * threshold > 0.25) least_null = std::min(least_null, length);
    const double gain = least_null / growth[kNullBlock - 1];
    if (product > 1 && std::isfinite(gain) && std::pow(gain, product) > kParted) break;
  }
  // Rayleigh-Ritz on X itself, where sigma decides and not sigma^2.
  ToColumns(block, null->columns);
  const StoredMatrix image = RowMajor(null->image, Dtype::kFloat64, kNullBlock, x.large);
  Apply(k, null->columns, 1.0, x, scale, 0.0, image, scratch);
  double factor[kNullBlock * kNullBlock];
  LowerFactor(k, kNullBlock, x.large, null->image, factor);
  // What is left between two rows turns the shorter by that times the ratio of their lengths.
  OrthogonalizeRows(k, kNullBlock, kNullBlock, factor, null->rotations, 0, 1e-7);
  // block <- rotations block, the rows below the threshold first.
  std::memcpy(null->product.data, block, sizeof(double) * static_cast<size_t>(kNullBlock * side));
  const double* old = null->product.data;
  null->count = 0;
  int64_t last = kNullBlock;
  double largest = 0, largest_null = 0;
  for (int64_t i = 0; i < kNullBlock; ++i) {
    const double* row = factor + i * kNullBlock;
    const double sigma = std::sqrt(k.dot(kNullBlock, row, row));
    const bool is_null = sigma <= threshold;
    largest = std::max(largest, sigma);
    if (is_null) largest_null = std::max(largest_null, sigma);
    double* target = block + (is_null ? null->count++ : --last) * side;
    std::fill(target, target + side, 0.0);
    for (int64_t j = 0; j < kNullBlock; ++j)
      k.combine(side, 1.0, target, null->rotations[i * kNullBlock + j], old + j * side, target);
  }
  constexpr double kGap = 8;  // each product gained the square of this
  return null->count < kNullBlock && largest >= kGap * largest_null;
}

void LiftNullDirections(const Kernels<double>& kernels, const NullDirections& null, double lift,
                        const Panels<double>& g) {
  for (int64_t i = 0; i < null.count; ++i) {
    const double* v = null.block + i * g.rows;
    for (int64_t c = 0; c < g.columns; c += g.width) {
      const int64_t columns = std::min(g.width, g.columns - c);
      for (int64_t r = 0; r < g.rows; ++r)
        kernels.combine(columns, 1.0, g.At(r, c), lift * v[r], v + c, g.At(r, c));
    }
  }
}

void RemoveNullDirections(const Kernels<double>& kernels, const NullDirections& null,
                          const Panels<double>& p, double* vectors) {
  for (int64_t i = 0; i < null.count; ++i) {
    const double* v = null.block + i * p.rows;
    double* image = vectors;  // v^T p = (p v)^T, p symmetric
    for (int64_t c = 0; c < p.columns; c += p.width)
      kernels.weigh_rows(static_cast<int>(std::min(p.width, p.columns - c) / kernels.vector),
                         p.rows, v, p.Panel(c), image + c);
    for (int64_t c = 0; c < p.columns; c += p.width) {
      const int64_t columns = std::min(p.width, p.columns - c);
      for (int64_t r = 0; r < p.rows; ++r)
        kernels.combine(columns, 1.0, p.At(r, c), -image[r], v + c, p.At(r, c));
    }
  }
}

}  // namespace ortho::cpu
