// Near-minimax polynomials for (1 - e)^(-1/2).
#pragma once

namespace ortho::cpu {

struct Series {
  int degree = 0;  // 1, 2, 4 or 6, which take 0, 1, 2 and 3 products; 0: none is good enough
  double coefficients[7] = {};
};

// The shortest polynomial within `tolerance` of (1 - e)^(-1/2), relative, on |e| <= radius:
// interpolation at Chebyshev nodes, which is within a small factor of the best.
Series InverseRootSeries(double radius, double tolerance);

}  // namespace ortho::cpu
