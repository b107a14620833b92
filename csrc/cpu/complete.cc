#include "cpu/complete.h"

#include <algorithm>
#include <cmath>

namespace ortho::cpu {
namespace {

// v <- v - B^T (B v) for the `count` orthonormal rows of B, one after the other (modified
// Gram-Schmidt).
void RemoveRows(const Kernels<double>& k, int64_t count, int64_t n, const double* basis,
                double* v) {
  for (int64_t i = 0; i < count; ++i)
    k.combine(n, 1.0, v, -k.dot(n, basis + i * n, v), basis + i * n, v);
}

int64_t LeastCovered(int64_t n, const double* covered) {
  return std::min_element(covered, covered + n) - covered;
}

void Normalize(const Kernels<double>& k, int64_t n, double* v) {
  k.combine(n, 1 / std::sqrt(k.dot(n, v, v)), v, 0.0, nullptr, v);
}

void Cover(int64_t n, const double* v, double* covered) {
  for (int64_t j = 0; j < n; ++j) covered[j] += v[j] * v[j];
}

// The projection of v (length n) out of the row space of o, which is a partial isometry: v - O^T (O
// v).
void RemoveRowSpace(const Kernels<double>& k, int64_t m, int64_t n, const double* o, double* image,
                    double* v) {
  for (int64_t r = 0; r < m; ++r) image[r] = k.dot(n, o + r * n, v);
  for (int64_t r = 0; r < m; ++r) k.combine(n, 1.0, v, -image[r], o + r * n, v);
}

// The same for its column space: u - O (O^T u), u of length m.
void RemoveColumnSpace(const Kernels<double>& k, int64_t m, int64_t n, const double* o,
                       double* image, double* u) {
  std::fill(image, image + n, 0.0);
  for (int64_t r = 0; r < m; ++r) k.combine(n, 1.0, image, u[r], o + r * n, image);
  for (int64_t r = 0; r < m; ++r) u[r] -= k.dot(n, o + r * n, image);
}

}  // namespace

int64_t CompleteScratch(int64_t m, int64_t n) { return m * m + m * n + m + 2 * n + n + m; }

void CompleteRank(const Kernels<double>& k, int64_t m, int64_t n, double* o, double* scratch) {
  const int64_t missing = m - std::llround(k.dot(m * n, o, o));
  if (missing <= 0) return;
  double* left = scratch;             // missing x m
  double* right = left + m * m;       // missing x n
  double* row_cover = right + m * n;  // m: how much of unit vector e_i the left spaces cover
  double* column_cover = row_cover + m;
  double* image = column_cover + n;  // max(m, n)
  std::fill(row_cover, row_cover + m + n, 0.0);
  for (int64_t r = 0; r < m; ++r) {
    row_cover[r] = k.dot(n, o + r * n, o + r * n);
    Cover(n, o + r * n, column_cover);
  }
  for (int64_t i = 0; i < missing; ++i) {
    double *u = left + i * m, *w = right + i * n;
    std::fill(u, u + m, 0.0);
    std::fill(w, w + n, 0.0);
    u[LeastCovered(m, row_cover)] = 1;
    w[LeastCovered(n, column_cover)] = 1;
    for (int pass = 0; pass < 2; ++pass) {  // twice is enough (Kahan and Parlett)
      RemoveColumnSpace(k, m, n, o, image, u);
      RemoveRows(k, i, m, left, u);
      Normalize(k, m, u);
      RemoveRowSpace(k, m, n, o, image, w);
      RemoveRows(k, i, n, right, w);
      Normalize(k, n, w);
    }
    Cover(m, u, row_cover);
    Cover(n, w, column_cover);
  }
  for (int64_t i = 0; i < missing; ++i)
    for (int64_t r = 0; r < m; ++r)
      k.combine(n, 1.0, o + r * n, left[i * m + r], right + i * n, o + r * n);
}

}  // namespace ortho::cpu
