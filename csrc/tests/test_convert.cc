// Storage types: every half-precision number there is, and rounding at every kind of edge, in every
// row of the kernel table, against arithmetic that does not look at bits.
#include "check.h"

namespace ortho::test {
namespace {

using cpu::KernelTable;

struct Format {
  int dtype, exponent_bits, fraction_bits;
};
constexpr Format kHalf = {0, 5, 10}, kBfloat = {1, 8, 7};

// The value that `bits` stands for, from the definition of the format.
double Value(const Format& format, int bits) {
  const int top = 1 << format.exponent_bits, bias = top / 2 - 1;
  const int fraction = bits & ((1 << format.fraction_bits) - 1);
  const int exponent = (bits >> format.fraction_bits) & (top - 1);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == top - 1) return fraction ? NAN : sign * INFINITY;
  const double significand = (exponent > 0) + std::ldexp(fraction, -format.fraction_bits);
  return sign * std::ldexp(significand, std::max(exponent, 1) - bias);
}

template <typename T>
void TestAllPatterns(const KernelTable& table, const Format& format) {
  const auto& k = cpu::KernelsFor<T>(table);
  std::vector<uint16_t> patterns(65536), back(65536);
  for (int bits = 0; bits < 65536; ++bits) patterns[bits] = static_cast<uint16_t>(bits);
  std::vector<T> values(65536);
  // As a block of rows, with a stride on both sides.
  k.load[format.dtype](256, 256, patterns.data(), 256, T(1), values.data(), 256);
  k.store[format.dtype](256, 256, values.data(), 256, back.data(), 256);
  // And with rows and columns exchanged, a vector's worth of columns at a time.
  std::vector<T> transposed(256 * k.panel + 64);
  T* target = transposed.data() +
              (64 - reinterpret_cast<uintptr_t>(transposed.data()) % 64) % 64 / sizeof(T);
  for (int64_t c = 0; c < 256; c += k.vector) {
    k.load_transposed[format.dtype](256, k.vector, patterns.data() + c * 256, 256, T(1), target,
                                    k.panel);
    for (int64_t r = 0; r < 256; ++r)
      for (int64_t j = 0; j < k.vector; ++j) {
        const T got = target[r * k.panel + j], want = values[(c + j) * 256 + r];
        CHECK(got == want || (std::isnan(got) && std::isnan(want)), "transposed at %d, %d", int(r),
              int(c + j));
      }
  }
  for (int bits = 0; bits < 65536; ++bits) {
    const double expected = Value(format, bits);
    if (std::isnan(expected)) {
      CHECK(std::isnan(values[bits]), "NaN 0x%04x became %g", bits, double(values[bits]));
      CHECK(std::isnan(Value(format, back[bits])), "NaN 0x%04x came back 0x%04x", bits, back[bits]);
    } else {
      CHECK(values[bits] == expected, "0x%04x became %g", bits, double(values[bits]));
      CHECK(back[bits] == bits, "0x%04x came back 0x%04x", bits, back[bits]);
    }
  }
}

// Between every two neighbours: the middle goes to the even one, a little more or less to the
// nearer.
template <typename T>
void TestRounding(const KernelTable& table, const Format& format) {
  const auto store = cpu::KernelsFor<T>(table).store[format.dtype];
  const int infinity = ((1 << format.exponent_bits) - 1) << format.fraction_bits;
  std::vector<T> values;
  std::vector<int> expected;
  for (int bits = 0; bits + 1 < infinity; ++bits) {
    const double low = Value(format, bits), high = Value(format, bits + 1);
    const double middle = (low + high) / 2, nudge = (high - low) / 64;
    for (const double sign : {1.0, -1.0}) {
      const int flag = sign < 0 ? 0x8000 : 0;
      values.insert(values.end(),
                    {static_cast<T>(sign * middle), static_cast<T>(sign * (middle - nudge)),
                     static_cast<T>(sign * (middle + nudge))});
      expected.insert(expected.end(), {(bits + bits % 2) | flag, bits | flag, (bits + 1) | flag});
    }
  }
  std::vector<uint16_t> stored(values.size());
  const auto n = static_cast<int64_t>(values.size());
  store(1, n, values.data(), n, stored.data(), n);
  for (int64_t i = 0; i < n; ++i)
    CHECK(stored[i] == expected[i], "%.9g became 0x%04x instead of 0x%04x", double(values[i]),
          stored[i], expected[i]);
  // Beyond the largest number by half a unit in the last place: infinity.
  const double largest = Value(format, infinity - 1), unit = largest - Value(format, infinity - 2);
  const T beyond[2] = {static_cast<T>(largest + unit / 2), static_cast<T>(-INFINITY)};
  uint16_t limits[2];
  store(1, 2, beyond, 2, limits, 2);
  CHECK(limits[0] == infinity && limits[1] == (infinity | 0x8000), "0x%04x 0x%04x", limits[0],
        limits[1]);
}

void TestRound(const KernelTable& table) {
  Random random(3);
  for (int type = 0; type < 2; ++type) {
    std::vector<float> values(1000), rounded;
    for (float& value : values)
      value = static_cast<float>(std::ldexp(random.Next(), int(40 * random.Next())));
    rounded = values;
    table.round[type](1000, rounded.data());
    std::vector<uint16_t> stored(1000);
    table.f32.store[type](1, 1000, values.data(), 1000, stored.data(), 1000);
    for (int i = 0; i < 1000; ++i)
      CHECK(rounded[i] == static_cast<float>(Value(type ? kBfloat : kHalf, stored[i])),
            "%g became %g", double(values[i]), double(rounded[i]));
  }
}

template <typename T>
void TestWideTypes(const KernelTable& table) {
  const auto& k = cpu::KernelsFor<T>(table);
  const double values[3] = {1e-3, -2.5, 7};
  T loaded[3];
  double doubles[3];
  float floats[3];
  k.load[3](3, 1, values, 1, T(4), loaded, 1);  // a column
  k.store[3](1, 3, loaded, 3, doubles, 3);
  k.store[2](1, 3, loaded, 3, floats, 3);
  for (int i = 0; i < 3; ++i) {
    CHECK(loaded[i] == static_cast<T>(values[i]) * T(4), "load %g", values[i]);
    CHECK(doubles[i] == static_cast<double>(loaded[i]), "store float64 %g", values[i]);
    CHECK(floats[i] == static_cast<float>(loaded[i]), "store float32 %g", values[i]);
  }
}

template <typename T>
void TestTable(const KernelTable& table) {
  for (const Format& format : {kHalf, kBfloat}) {
    TestAllPatterns<T>(table, format);
    TestRounding<T>(table, format);
  }
  TestWideTypes<T>(table);
}

}  // namespace
}  // namespace ortho::test

int main() {
  using namespace ortho::test;
  return OnEveryTable([](const auto& table) {
    TestTable<float>(table);
    TestTable<double>(table);
    TestRound(table);
  });
}
