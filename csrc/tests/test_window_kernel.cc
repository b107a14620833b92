// Dot products of the window's rows: every row of the kernel table against plain sums in float64,
// at every length, on rows that are aligned to an element and no more.
#include <cstring>

#include "check.h"
#include "cpu/convert.h"

namespace ortho::test {
namespace {

template <typename S>
void Check(const cpu::KernelTable& table, int which, double eps, int64_t rows, int64_t n,
           Random& random) {
  const int64_t stride = n + 3;
  std::vector<S> window(static_cast<size_t>(rows * stride + 1)), g(static_cast<size_t>(n + 1));
  for (S& x : window) x = cpu::Narrow<S>::From(random.Next());
  for (S& x : g) x = cpu::Narrow<S>::From(random.Next());
  std::vector<double> sums(static_cast<size_t>(rows + 1), 2.0);
  table.dot_rows[which](rows, n, window.data() + 1, stride, g.data() + 1, sums.data());
  for (int64_t r = 0; r < rows; ++r) {
    double wanted = 2.0, size = 2.0;
    for (int64_t i = 0; i < n; ++i) {
      const double product =
          static_cast<double>(cpu::Widen(window[static_cast<size_t>(1 + r * stride + i)])) *
          static_cast<double>(cpu::Widen(g[static_cast<size_t>(1 + i)]));
      wanted += product;
      size += std::abs(product);
    }
    const double got = sums[static_cast<size_t>(r)];
    // A chain of 32 sums, then float64.
    CHECK(std::abs(got - wanted) <= 32 * eps * size, "%d rows %d of %d, n %d: %.17g, not %.17g",
          which, static_cast<int>(r), static_cast<int>(rows), static_cast<int>(n), got, wanted);
  }
  CHECK(sums[static_cast<size_t>(rows)] == 2.0, "%d: a sum beyond the last row", which);
}

void Test(const cpu::KernelTable& table) {
  Random random(7);
  for (const int64_t rows : {0, 1, 3, 4, 5, 9})
    for (const int64_t n : {0, 1, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 200, 511, 513, 1100}) {
      Check<float>(table, 0, 0x1p-52, rows, n, random);
      Check<cpu::Bfloat>(table, 1, 0x1p-24, rows, n, random);
    }
}

}  // namespace
}  // namespace ortho::test

int main() { return ortho::test::OnEveryTable(ortho::test::Test); }
