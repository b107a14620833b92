// The series of (1 - e)^(-1/2): within its tolerance everywhere on its interval, and no longer than
// it must be by much.
#include <initializer_list>

#include "check.h"
#include "cpu/series.h"

int main() {
  using ortho::cpu::InverseRootSeries;
  using ortho::cpu::Series;
  int longest = 0;
  for (const double tolerance : {1e-4, 1e-7, 1e-8}) {
    int previous = 1;
    for (double radius = 1e-9; radius < 0.6; radius *= 1.1) {
      const Series series = InverseRootSeries(radius, tolerance);
      if (series.degree == 0) {
        CHECK(radius > 0.1, "no series at radius %g, tolerance %g", radius, tolerance);
        previous = 99;
        continue;
      }
      CHECK(series.degree >= previous, "degree %d after %d", series.degree, previous);
      previous = series.degree;
      longest = series.degree > longest ? series.degree : longest;
      double worst = 0;
      for (int i = -1000; i <= 1000; ++i) {
        const double e = radius * i / 1000, exact = 1 / std::sqrt(1 - e);
        double value = 0;
        for (int power = 6; power >= 0; --power) value = value * e + series.coefficients[power];
        worst = std::fmax(worst, std::abs(value / exact - 1));
      }
      CHECK(worst <= tolerance, "error %g at radius %g, tolerance %g", worst, radius, tolerance);
    }
  }
  CHECK(longest == 6, "the longest series was never used");
  CHECK(InverseRootSeries(std::nan(""), 1e-7).degree == 0, "NaN has a series");
  return ortho::test::Result();
}
