#include "cpu/series.h"

#include <algorithm>
#include <cmath>

namespace ortho::cpu {
namespace {

constexpr int kMaxDegree = 6;
constexpr double kPi = 3.14159265358979323846;

double InverseRoot(double e) { return 1 / std::sqrt(1 - e); }

// Newton's divided differences at the nodes, multiplied out into powers of e.
void Interpolate(int degree, double radius, double* coefficients) {
  double nodes[kMaxDegree + 1], table[kMaxDegree + 1];
  for (int i = 0; i <= degree; ++i) {
    nodes[i] = radius * std::cos(kPi * (2 * i + 1) / (2 * degree + 2));
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
  double coefficient = 1;  // of e^(degree + 1)
  for (int k = 1; k <= degree + 1; ++k) coefficient *= (2 * k - 1) / (2.0 * k);
  return 2 * coefficient * std::pow(radius / 2, degree + 1) *
         std::pow(1 - radius, -(degree + 1.5)) * std::sqrt(1 + radius);
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
