// Every row's ways in and out of memory: loads, stores, and what they look for on the way.
#include <tuple>

#include "check.h"

namespace ortho::test {
namespace {

using cpu::Kernels;
using cpu::KernelTable;

// Both directions, every dtype, rows that end inside a vector.
template <typename T>
void TestStorage(const Kernels<T>& k, Random& random) {
  for (const int64_t columns : {0, 1, 3, 8, 29, 96}) {
    constexpr int64_t kLines = 3, kStride = 101, kWide = 99;
    Buffer<double> source(kLines * kStride), stored(kLines * kStride);
    Fill(random, source, kLines * kStride);
    const std::vector<float> floats(source.data(), source.data() + kLines * kStride);
    std::vector<float> narrow(kLines * kStride, NAN);
    Buffer<T> a(kLines * kWide), b(kLines * kWide);
    k.load[3](kLines, columns, source.data(), kStride, T(2), a.data(), kWide);
    k.load[2](kLines, columns, floats.data(), kStride, T(2), b.data(), kWide);
    k.store[3](kLines, columns, a.data(), kWide, stored.data(), kStride);
    k.store[2](kLines, columns, a.data(), kWide, narrow.data(), kStride);
    for (int64_t r = 0; r < kLines; ++r)
      for (int64_t c = 0; c < kWide; ++c) {
        const int64_t in = r * kStride + c, at = r * kWide + c;
        if (c >= columns) {
          CHECK(std::isnan(a[at]) && std::isnan(b[at]), "column %d was loaded", int(c));
          CHECK(std::isnan(stored[in]) && std::isnan(narrow[in]), "column %d was stored", int(c));
          continue;
        }
        CHECK(a[at] == T(2) * static_cast<T>(source[in]) && b[at] == T(2) * floats[in], "load");
        CHECK(stored[in] == double(a[at]) && narrow[in] == float(a[at]), "store");
      }
  }
}

template <typename T>
void TestLoadTransposed(const Kernels<T>& k, Random& random) {
  for (const int64_t rows : {0, 1, 3, 16, 35}) {
    for (int64_t columns = 0; columns <= k.vector; ++columns) {
      const int64_t stride = rows + 3;
      Buffer<double> source(stride * k.vector);
      Fill(random, source, stride * k.vector);
      std::vector<float> floats(source.data(), source.data() + stride * k.vector);
      Buffer<T> a(rows * k.panel + 1), b(rows * k.panel + 1);
      k.load_transposed[3](rows, columns, source.data(), stride, T(2), a.data(), k.panel);
      k.load_transposed[2](rows, columns, floats.data(), stride, T(2), b.data(), k.panel);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < k.panel; ++c) {
          const int64_t at = r * k.panel + c;
          if (c >= k.vector) {
            CHECK(std::isnan(a[at]) && std::isnan(b[at]), "column %d was written", int(c));
            continue;
          }
          const bool inside = c < columns;
          CHECK(a[at] == (inside ? T(2) * static_cast<T>(source[c * stride + r]) : T(0)),
                "float64");
          CHECK(b[at] == (inside ? T(2) * floats[c * stride + r] : T(0)), "float32");
        }
    }
  }
}

void TestMaxAbs(const KernelTable& table) {
  const double inf = INFINITY, nan = NAN;
  for (const int at : {0, 5, 40}) {
    std::vector<double> values(41, 0.25);
    const auto expect = [&](double planted, double expected) {
      values[at] = planted;
      const std::vector<float> floats(values.begin(), values.end());
      CHECK(table.max_abs[2](41, floats.data()) == expected, "float32 %g at %d", planted, at);
      CHECK(table.max_abs[3](41, values.data()) == expected, "float64 %g at %d", planted, at);
    };
    expect(-3, 3);
    expect(3, 3);
    expect(inf, inf);
    expect(-inf, inf);
    expect(nan, inf);
    expect(-nan, inf);
    for (const auto& [type, one, minus_two, infinity, a_nan] :
         {std::tuple<int, int, int, int, int>{0, 0x3c00, 0xc000, 0xfc00, 0xfe01},
          std::tuple<int, int, int, int, int>{1, 0x3f80, 0xc000, 0xff80, 0xffc1}}) {
      std::vector<uint16_t> bits(41, static_cast<uint16_t>(one));
      bits[at] = static_cast<uint16_t>(minus_two);
      CHECK(table.max_abs[type](41, bits.data()) == 2, "type %d, -2 at %d", type, at);
      bits[at] = static_cast<uint16_t>(infinity);
      CHECK(table.max_abs[type](41, bits.data()) == inf, "type %d, -Inf at %d", type, at);
      bits[at] = static_cast<uint16_t>(a_nan);
      CHECK(table.max_abs[type](41, bits.data()) == inf, "type %d, NaN at %d", type, at);
    }
  }
  CHECK(table.max_abs[2](0, nullptr) == 0, "nothing");
}

}  // namespace
}  // namespace ortho::test

int main() {
  using namespace ortho::test;
  return OnEveryTable([](const auto& table) {
    OnBothTypes(table, [](const auto& kernels, Random& random) {
      TestStorage(kernels, random);
      TestLoadTransposed(kernels, random);
    });
    TestMaxAbs(table);
  });
}
