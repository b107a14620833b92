#include "cpu/series.h"

#include <algorithm>
#include <cmath>

namespace ortho::cpu {
namespace {

constexpr int kMaxDegree = 6;

double InverseRoot(double e) { return 1 / std::sqrt(1 - e); }

// Newton's divided differences at the nodes, multiplied out into powers of e.
void Interpolate(int degree, double radius, double* coefficients) {
  const double pi = std::acos(-1.0);
  double nodes[kMaxDegree + 1], table[kMaxDegree + 1];
  for (int i = 0; i <= degree; ++i) {
    nodes[i] = radius * std::cos(pi * (2 * i + 1) / (2 * degree + 2));
    table[i] = InverseRoot(nodes[i]);
  }
  for (int level = 1; level <= degree; ++level)
    for (int i = degree; i >= level; --i)
      table[i] = (table[i] - table[i - 1]) / (nodes[i] - nodes[i - level]);
  std::fill(coefficients, coefficients + kMaxDegree + 1, 0.0);
  for (int i = degree; i >= 0; --i) {  // c <- c (e - node) + table
    for (int power = degree; power > 0; --power)
      coefficients[power] = coefficients[power - 1] - nodes[i] * coefficients[power];
    coefficients[0] = table[i] - nodes[i] * coefficients[0];
  }
}

double RelativeError(int degree, double radius, const double* coefficients) {
  double worst = 0;
  constexpr int kSamples = 32;
  for (int i = -kSamples; i <= kSamples; ++i) {
    const double e = radius * i / kSamples;
    double value = 0;
    for (int power = degree; power >= 0; --power) value = value * e + coefficients[power];
    worst = std::max(worst, std::abs(value / InverseRoot(e) - 1));
  }
  return worst;
}

}  // namespace

Series InverseRootSeries(double radius, double tolerance) {
  Series series;
  // Interpolation divides by differences of nodes, which must not vanish; below this any will do.
  radius = std::max(radius, 1e-7);
  // Leading term of the error, coefficient(n + 1) radius^(n + 1) / 2^n, to skip what cannot serve.
  for (const int degree : {1, 2, 4, 6}) {
    if (0.2 * std::pow(radius, degree + 1) / std::pow(2.0, degree) > tolerance || radius >= 0.5)
      continue;
    Interpolate(degree, radius, series.coefficients);
    if (RelativeError(degree, radius, series.coefficients) <= tolerance) {
      series.degree = degree;
      return series;
    }
  }
  return series;
}

}  // namespace ortho::cpu
