// Bases for matrices with planted singular values.
#pragma once

#include "check.h"

namespace ortho::test {

// m orthonormal rows of n numbers, by Gram-Schmidt, twice as it needs to be.
inline std::vector<double> Orthonormal(int64_t m, int64_t n, Random& random) {
  std::vector<double> q(static_cast<size_t>(m * n));
  for (double& value : q) value = random.Next();
  for (int64_t i = 0; i < m; ++i)
    for (int pass = 0; pass < 2; ++pass) {
      double* row = q.data() + i * n;
      for (int64_t j = 0; j < i; ++j) {
        double dot = 0;
        for (int64_t l = 0; l < n; ++l) dot += row[l] * q[j * n + l];
        for (int64_t l = 0; l < n; ++l) row[l] -= dot * q[j * n + l];
      }
      double norm = 0;
      for (int64_t l = 0; l < n; ++l) norm += row[l] * row[l];
      for (int64_t l = 0; l < n; ++l) row[l] /= std::sqrt(norm);
    }
  return q;
}

}  // namespace ortho::test
