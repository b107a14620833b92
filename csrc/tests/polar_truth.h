// Matrices with planted singular values, and the float64 truth of a polynomial's polar factor.
#pragma once

#include <algorithm>

#include "device_tensor.h"
#include "orthonormal.h"

namespace ortho::test {

using Values = std::vector<double>;  // of a matrix, row-major

// polar_express, for [1e-3, 1].
inline constexpr double kCoefficients[][3] = {
    {8.28721201814563, -23.595886519098837, 17.300387312530933},
    {4.107059111542203, -2.9478499167379106, 0.5448431082926601},
    {3.9486908534822946, -2.908902115962949, 0.5518191394370137},
    {3.3184196573706015, -2.488488024314874, 0.51004894012372},
    {2.300652019954817, -1.6689039845747493, 0.4188073119525673},
    {1.891301407787398, -1.2679958271945868, 0.37680408948524835},
    {1.8750014808534479, -1.2500016453999487, 0.3750001645474248},
    {1.875, -1.25, 0.375}};

// a b^T, or a b
inline Values Product(const Values& a, const Values& b, int64_t m, int64_t k, int64_t n,
                      bool transposed) {
  Values c(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t l = 0; l < k; ++l)
      for (int64_t j = 0; j < n; ++j)
        c[i * n + j] += a[i * k + l] * (transposed ? b[j * k + l] : b[l * n + j]);
  return c;
}

inline Values TransposeOf(const Values& x, int64_t m, int64_t n) {
  Values y(x.size());
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) y[j * m + i] = x[i * n + j];
  return y;
}

inline Values Truth(Values x, int64_t m, int64_t n, int64_t steps) {
  if (m > n) return TransposeOf(Truth(TransposeOf(x, m, n), n, m, steps), n, m);
  double largest = 0, squares = 0;
  for (const double value : x) largest = std::max(largest, std::abs(value));
  if (largest == 0) return x;
  for (double& value : x) squares += value / largest * (value / largest);
  for (double& value : x) value /= largest * std::sqrt(squares);
  for (int64_t s = 0; s < steps; ++s) {
    const Values gram = Product(x, x, m, n, m, true);
    Values r = Product(gram, gram, m, m, m, true);
    for (int64_t i = 0; i < m * m; ++i)
      r[i] = kCoefficients[s][2] * r[i] + kCoefficients[s][1] * gram[i] +
             (i % (m + 1) == 0 ? kCoefficients[s][0] : 0);
    x = Product(r, x, m, m, n, false);
  }
  return x;
}

inline void FillWithSingularValues(DeviceTensor& x, int64_t m, int64_t n, const Values& sigma,
                                   uint64_t seed) {
  Random random(seed);
  const int64_t k = std::min(m, n);
  Values u = Orthonormal(k, m, random);
  const Values v = Orthonormal(k, n, random);
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < m; ++j) u[i * m + j] *= sigma[i];
  const Values a = Product(TransposeOf(u, k, m), v, m, k, n, false);
  for (int64_t i = 0; i < m * n; ++i) x.Set(i, a[i]);
}

// Singular values from 1 down to 1 / condition; 0: elements at random.
inline void FillPlanted(DeviceTensor& x, int64_t m, int64_t n, double condition, uint64_t seed) {
  if (condition == 0) return x.FillRandom(seed);
  Values sigma;
  const int64_t last = std::max<int64_t>(std::min(m, n) - 1, 1);
  for (int64_t i = 0; i < std::min(m, n); ++i)
    sigma.push_back(std::pow(condition, -static_cast<double>(i) / static_cast<double>(last)));
  FillWithSingularValues(x, m, n, sigma, seed);
}

inline Values ValuesOf(const DeviceTensor& x, int64_t first, int64_t count) {
  Values values;
  for (int64_t i = 0; i < count; ++i) values.push_back(x.Value(first + i));
  return values;
}

inline double RelativeError(const Values& ours, const Values& truth) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    difference += (ours[i] - truth[i]) * (ours[i] - truth[i]);
    norm += truth[i] * truth[i];
  }
  return norm == 0 ? std::sqrt(difference) : std::sqrt(difference / norm);
}

}  // namespace ortho::test
