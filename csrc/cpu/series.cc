#include "cpu/series.h"

#include <algorithm>
#include <cmath>

namespace ortho::cpu {
namespace {

constexpr int kMaxDegree = 6;
constexpr double kPi = 3.14159265358979323846;

double InverseRoot(double e) { return 1 / std::sqrt(1 - e); }

// The zeros of the Chebyshev polynomials, once: they are asked for at every matrix.
struct ChebyshevNodes {
  double of[kMaxDegree + 1][kMaxDegree + 1];
  ChebyshevNodes() {
    for (int degree = 0; degree <= kMaxDegree; ++degree)
      for (int i = 0; i <= degree; ++i)
        of[degree][i] = std::cos(kPi * (2 * i + 1) / (2 * degree + 2));
  }
};

// Newton's divided differences at the nodes, multiplied out into powers of e.
void Interpolate(int degree, double radius, double* coefficients) {
  static const ChebyshevNodes chebyshev;
  double nodes[kMaxDegree + 1], table[kMaxDegree + 1];
  for (int i = 0; i <= degree; ++i) {
    nodes[i] = radius * chebyshev.of[degree][i];
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

// Relative error of the interpolation, no less than it is: its remainder is the product of all
// (e - node), largest at the ends of the interval, and a divided difference of (1 - e)^(-1/2),
// which grows with e, for all derivatives are positive. So it is largest at e = radius, where the
// function is; relative to the least value of that, at e = -radius, it can only be less.
double ErrorBound(int degree, double radius, const double* coefficients) {
  double value = 0;
  for (int power = degree; power >= 0; --power) value = value * radius + coefficients[power];
  return std::abs(InverseRoot(radius) - value) * std::sqrt(1 + radius);
}

// What that comes to, without interpolating: the remainder's leading term, (radius / 2)^(degree +
// 1) times the Taylor coefficient at the middle. It is less than the remainder.
double LeastError(int degree, double radius) {
  double error = 1;
  for (int k = 1; k <= degree + 1; ++k) error *= (2 * k - 1) / (2.0 * k) * (radius / 2);
  return 2 * error;
}

}  // namespace

Series InverseRootSeries(double radius, double tolerance) {
  Series series;
  if (!(radius < 0.5)) return series;
  // Interpolation divides by differences of nodes, which must not vanish; below this any will do.
  radius = std::max(radius, 1e-7);
  for (const int degree : {1, 2, 4, 6}) {
    if (LeastError(degree, radius) > tolerance) continue;  // interpolating takes longer than this
    Interpolate(degree, radius, series.coefficients);
    if (ErrorBound(degree, radius, series.coefficients) > tolerance) continue;
    series.degree = degree;
    break;
  }
  return series;
}

}  // namespace ortho::cpu
