#include "cpu/jacobi.h"

#include <algorithm>
#include <cmath>

namespace ortho::cpu {

void OrthogonalizeRows(const Kernels<double>& kernels, int64_t m, int64_t n, double* y,
                       double* rotations, double negligible, double orthogonal) {
  std::fill(rotations, rotations + m * m, 0.0);
  for (int64_t i = 0; i < m; ++i) rotations[i * m + i] = 1;
  constexpr int kMaxSweeps = 40;
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    double longest = 0;
    for (int64_t i = 0; i < m; ++i)
      longest = std::max(longest, kernels.dot(n, y + i * n, y + i * n));
    const double ignored = negligible * negligible * longest;
    bool rotated = false;
    for (int64_t p = 0; p < m; ++p) {
      for (int64_t q = p + 1; q < m; ++q) {
        double *a = y + p * n, *b = y + q * n;
        const double aa = kernels.dot(n, a, a), bb = kernels.dot(n, b, b);
        if (std::max(aa, bb) <= ignored) continue;
        const double ab = kernels.dot(n, a, b);
        if (!(std::abs(ab) > orthogonal * std::sqrt(aa) * std::sqrt(bb))) continue;
        rotated = true;
        // The smaller root of t^2 + 2 zeta t - 1 = 0: the rotation by at most 45 degrees.
        const double zeta = (bb - aa) / (2 * ab);
        constexpr double kHuge = 1e100;  // its square would overflow, and 1 is nothing beside it
        const double size = std::abs(zeta);
        const double t =
            std::copysign(1.0, zeta) / (size + (size > kHuge ? size : std::sqrt(1 + size * size)));
        const double c = 1 / std::sqrt(1 + t * t), s = c * t;
        kernels.rotate(n, c, s, a, b);
        kernels.rotate(m, c, s, rotations + p * m, rotations + q * m);
      }
    }
    if (!rotated) return;
  }
}

}  // namespace ortho::cpu
