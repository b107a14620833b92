// What the forms of a polynomial share.
#pragma once

#include "cpu/polar.h"

namespace ortho::cpu {

// One step: X <- a X + (b A + c A^2) X.
struct PolynomialStep {
  float a, b, c;
  PolynomialStep(const ortho_polar_options& options, int64_t step)
      : a(Coefficient(options, step, 0)),
        b(Coefficient(options, step, 1)),
        c(Coefficient(options, step, 2)) {}

 private:
  static float Coefficient(const ortho_polar_options& options, int64_t step, int64_t which) {
    return static_cast<float>(options.coefficients[3 * step + which]);
  }
};

// x / ||x||_F as float32 rows.
void Normalize(const KernelTable& table, const StoredMatrix& x, double scale,
               const StoredMatrix& rows);

// polynomial_half.cc: precision "float16" and "bfloat16", always in the ordinary form.
void HalfPrecisionPolynomial(const KernelTable& table, const ortho_polar_options& options,
                             const StoredMatrix& x, double scale, const StoredMatrix& out,
                             Scratch& scratch);

}  // namespace ortho::cpu
