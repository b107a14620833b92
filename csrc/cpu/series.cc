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

// Relative error of the interpolation, from the remainder at Chebyshev nodes: the (n + 1)-th
// derivative of (1 - e)^(-1/2) is largest at e = radius, and the function smallest at -radius.
double ErrorBound(int degree, double radius) {
  double bound = 2 * std::sqrt((1 + radius) / (1 - radius));
  for (int k = 1; k <= degree + 1;
       ++k)  // the coefficient of e^(degree + 1), and the powers with it
    bound *= (2 * k - 1) / (2.0 * k) * (radius / 2) / (1 - radius);
  return bound;
}

}  // namespace

Series InverseRootSeries(double radius, double tolerance) {
  Series series;
  if (!(radius < 0.5)) return series;
  // Interpolation divides by differences of nodes, which must not vanish; below this any will do.
  radius = std::max(radius, 1e-7);
  for (const int degree : {1, 2, 4, 6}) {
    if (ErrorBound(degree, radius) > tolerance) continue;
    Interpolate(degree, radius, series.coefficients);
    series.degree = degree;
    break;
  }
  return series;
}

}  // namespace ortho::cpu
