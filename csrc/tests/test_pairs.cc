// Products of bfloat16 pairs: the arithmetic against fused multiply-adds of the C library, every
// row of the kernel table that has them against that arithmetic, to the bit, and the polynomial
// that is made of them against float64.
#include <algorithm>
#include <cstring>
#include <limits>

#include "check.h"
#include "cpu/dot_pair.h"
#include "cpu/multiply_pairs.h"
#include "cpu/polar.h"

namespace ortho::test {
namespace {

using cpu::BfloatPair;
using cpu::KernelTable;
using cpu::PairKernels;

uint32_t RandomBits(Random& random) {
  return static_cast<uint32_t>((random.Next() + 1) * 0x1p31) ^
         static_cast<uint32_t>((random.Next() + 1) * 0x1p15);
}

BfloatPair RandomPair(Random& random) {
  return {cpu::ToBfloat(static_cast<float>(random.Next())).bits,
          cpu::ToBfloat(static_cast<float>(random.Next())).bits};
}

float Wide(uint16_t bits) { return cpu::ToFloat(cpu::Bfloat{bits}); }

bool SameBits(float x, float y) {
  return std::memcmp(&x, &y, sizeof(x)) == 0 || (std::isnan(x) && std::isnan(y));
}

// ---- The arithmetic
// ------------------------------------------------------------------------------

float Flushed(float x) {
  return std::abs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}

float Expected(float sum, BfloatPair a, BfloatPair b) {
  const auto add = [](float x, float y, float s) {
    x = Flushed(x), y = Flushed(y), s = Flushed(s);
    const float result = std::fma(x, y, s);
    // What rounds up to the smallest normal number is normal only if it does so with 24 bits:
    // scaled up by 2^64, where they are to be had. (The product must not overflow: here it is
    // tiny.)
    if (std::abs(result) == std::numeric_limits<float>::min())
      return std::abs(std::fma(x * 0x1p32f, y * 0x1p32f, s * 0x1p64f)) < 0x1p-62f
                 ? std::copysign(0.0f, result)
                 : result;
    return Flushed(result);
  };
  sum = add(Wide(a.second), Wide(b.second), sum);
  return add(Wide(a.first), Wide(b.first), sum);
}

void TestArithmetic() {
  Random random(1);
  const auto check = [](float sum, BfloatPair a, BfloatPair b) {
    const float got = cpu::DotPair(sum, a, b), want = Expected(sum, a, b);
    CHECK(SameBits(got, want), "%a + (%a, %a) . (%a, %a) is %a instead of %a", sum, Wide(a.first),
          Wide(a.second), Wide(b.first), Wide(b.second), got, want);
  };
  for (int i = 0; i < 300000; ++i) {  // any bits at all
    const uint32_t a = RandomBits(random), b = RandomBits(random);
    check(cpu::FloatFromBits(RandomBits(random)),
          {static_cast<uint16_t>(a), static_cast<uint16_t>(a >> 16)},
          {static_cast<uint16_t>(b), static_cast<uint16_t>(b >> 16)});
  }
  for (int i = 0; i < 300000; ++i) {  // sums and products of like size, down to where they vanish
    const auto near = [&](double exponent) {
      return static_cast<float>(std::ldexp(random.Next(), static_cast<int>(exponent)));
    };
    const double size = std::floor(random.Next() * 160);
    const auto bfloat = [&] { return cpu::ToBfloat(near(std::floor(size / 2))).bits; };
    check(near(size), {bfloat(), bfloat()}, {bfloat(), bfloat()});
  }
  const uint16_t one = 0x3f80, minus = 0xbf80, small = 0x3380 /* 2^-24 */, tiny = 0x0001,
                 least = 0x0080;
  // The second product comes first: 1 - 1 leaves room for the small one, the other way it is lost.
  CHECK(cpu::DotPair(1, {small, minus}, {one, one}) == 0x1p-24f, "order");
  CHECK(cpu::DotPair(1, {minus, small}, {one, one}) == 0, "order");
  CHECK(cpu::DotPair(0, {tiny, 0}, {0x7f00, 0}) == 0, "a subnormal operand");
  CHECK(SameBits(cpu::DotPair(-0x1p-127f, {0, 0}, {one, one}), 0.0f), "a subnormal sum");
  CHECK(cpu::DotPair(0x1p-125f, {0x8000 | least, 0}, {one, 0}) == 0x1p-126f, "normal again");
  // 2^-126 less a product of 2^-152, 2^-151 and 1.5 x 2^-151: the last rounds to something smaller.
  check(0x1p-126f, {0x0d80, 0}, {0xa580, 0});
  CHECK(cpu::DotPair(0x1p-126f, {0x0d80, 0}, {0xa580, 0}) == 0x1p-126f, "rounds to normal");
  CHECK(cpu::DotPair(0x1p-126f, {0x0d80, 0}, {0xa600, 0}) == 0x1p-126f, "a tie, to even");
  CHECK(cpu::DotPair(0x1p-126f, {0x0d80, 0}, {0xa640, 0}) == 0, "rounds to subnormal");
  CHECK(cpu::DotPair(0, {least, 0}, {0x3f00, 0}) == 0, "a subnormal product");
}

// ---- The kernels
// ---------------------------------------------------------------------------------

void TestProducts(const PairKernels& k) {
  Random random(2);
  for (const int64_t depth : {0, 1, 7, 50}) {
    for (int vectors = 1; vectors <= 3; ++vectors) {
      // A tile, several, and more than a panel of a has columns.
      for (const int64_t rows : {k.rows, 2 * (k.panel / 2 / k.rows) * k.rows, k.panel + k.rows}) {
        for (const bool addend : {false, true}) {
          const int64_t a_panel = depth * k.panel, columns = vectors * k.vector,
                        size = rows * k.panel;
          Buffer<float> storage_a(2 * a_panel + 1), storage_b(a_panel + 1), c(size), d(size);
          BfloatPair* a = reinterpret_cast<BfloatPair*>(storage_a.data());
          BfloatPair* b = reinterpret_cast<BfloatPair*>(storage_b.data());
          for (int64_t i = 0; i < 2 * a_panel; ++i) a[i] = RandomPair(random);
          for (int64_t i = 0; i < a_panel; ++i) b[i] = RandomPair(random);
          for (int64_t i = 0; i < size; ++i) d[i] = static_cast<float>(random.Next());
          const float* from = addend ? d.data() : nullptr;
          k.product(vectors, rows, depth, a, a_panel, b, 0.5f, from, 2.0f, c.data());
          for (int64_t r = 0; r < rows; ++r) {
            const BfloatPair* left = a + r / k.panel * a_panel + r % k.panel;
            for (int64_t j = 0; j < k.panel; ++j) {
              float sum = 0;
              for (int64_t i = 0; i < depth; ++i)
                sum = cpu::DotPair(sum, left[i * k.panel], b[i * k.panel + j]);
              // Powers of two, so that a fused and a separate addition round alike.
              const float want = addend ? sum * 0.5f + d[r * k.panel + j] * 2.0f : sum * 0.5f;
              const float got = c[r * k.panel + j];
              if (j < columns)
                CHECK(SameBits(got, want), "%a instead of %a at %d, %d", got, want, int(r), int(j));
              else
                CHECK(std::isnan(got), "column %d was written", int(j));
            }
          }
        }
      }
    }
  }
}

void TestArrangement(const PairKernels& k) {
  Random random(3);
  std::vector<BfloatPair> source(k.vector * k.panel), target(k.vector * k.panel);
  for (BfloatPair& pair : source)  // any bits: NaNs and subnormal numbers pass unchanged
    pair = {static_cast<uint16_t>(RandomBits(random)), static_cast<uint16_t>(RandomBits(random))};
  Buffer<float> aligned(k.vector * k.panel), moved(k.vector * k.panel);
  std::memcpy(aligned.data(), source.data(), source.size() * sizeof(BfloatPair));
  k.transpose(reinterpret_cast<BfloatPair*>(aligned.data()), k.panel,
              reinterpret_cast<BfloatPair*>(moved.data()), k.panel);
  std::memcpy(target.data(), moved.data(), target.size() * sizeof(BfloatPair));
  for (int r = 0; r < k.vector; ++r)
    for (int c = 0; c < k.vector; ++c)
      CHECK(std::memcmp(&target[c * k.panel + r], &source[r * k.panel + c], 4) == 0,
            "transposed at %d, %d", r, c);

  for (const int64_t n : {0, 1, 16, 37}) {
    std::vector<float> first(n), second(n);
    std::vector<uint16_t> first_bits(n), second_bits(n);
    std::vector<BfloatPair> rounded(n + 1, {7, 7}), interleaved(n + 1, {7, 7});
    for (int64_t i = 0; i < n; ++i) {
      first[i] = static_cast<float>(random.Next());
      second[i] = static_cast<float>(random.Next());
      first_bits[i] = cpu::ToBfloat(first[i]).bits;
      second_bits[i] = cpu::ToBfloat(second[i]).bits;
    }
    k.round(n, first.data(), second.data(), rounded.data());
    k.interleave(n, first_bits.data(), second_bits.data(), interleaved.data());
    for (const auto& pairs : {rounded, interleaved}) {
      for (int64_t i = 0; i < n; ++i)
        CHECK(pairs[i].first == first_bits[i] && pairs[i].second == second_bits[i], "%d", int(i));
      CHECK(pairs[n].first == 7, "wrote past the end");
    }
  }
}

// ---- The polynomial
// ------------------------------------------------------------------------------

// Five steps of keller_jordan in float64, rows of m x n with m <= n.
std::vector<double> Polynomial(std::vector<double> x, int64_t m, int64_t n, const double* triple) {
  double norm = 0;
  for (const double value : x) norm += value * value;
  for (double& value : x) value /= std::sqrt(norm);
  const auto multiply = [](const std::vector<double>& a, const std::vector<double>& b, int64_t rows,
                           int64_t depth, int64_t columns) {
    std::vector<double> c(rows * columns, 0.0);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t k = 0; k < depth; ++k)
        for (int64_t j = 0; j < columns; ++j)
          c[i * columns + j] += a[i * depth + k] * b[k * columns + j];
    return c;
  };
  for (int step = 0; step < 5; ++step) {
    std::vector<double> transposed(x.size());
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) transposed[j * m + i] = x[i * n + j];
    const std::vector<double> a = multiply(x, transposed, m, n, m);
    std::vector<double> z = multiply(a, a, m, m, m);
    for (int64_t i = 0; i < m * m; ++i)
      z[i] = triple[2] * z[i] + triple[1] * a[i] + (i % (m + 1) == 0 ? triple[0] : 0);
    x = multiply(z, x, m, m, n);
  }
  return x;
}

double Distance(const std::vector<float>& x, const std::vector<double>& truth) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    difference += (x[i] - truth[i]) * (x[i] - truth[i]);
    size += truth[i] * truth[i];
  }
  return std::sqrt(difference / size);
}

std::vector<float> Run(const KernelTable& table, std::vector<float> x, int64_t m, int64_t n,
                       const ortho_polar_options& options) {
  std::vector<float> out(x.size(), NAN);
  cpu::PolarPair pair;
  for (auto [matrix, data] : {std::pair(&pair.x, &x), std::pair(&pair.out, &out)}) {
    matrix->data = reinterpret_cast<char*>(data->data());
    matrix->dtype = Dtype::kFloat32;
    matrix->rows.size = m;
    matrix->rows.stride = n;
    matrix->columns.size = n;
    matrix->columns.stride = 1;
  }
  std::vector<char> workspace(cpu::PolarWorkspace(table, options, {pair}));
  CHECK(cpu::PolarAll(table, options, {pair}, workspace.data(), workspace.size()), "workspace");
  return out;
}

void TestPolynomial(const KernelTable& table) {
  Random random(4);
  std::vector<double> triples;
  for (int step = 0; step < 5; ++step) triples.insert(triples.end(), {3.4445, -4.7750, 2.0315});
  ortho_polar_options options = ORTHO_POLAR_OPTIONS_DEFAULT;
  options.method = ORTHO_POLAR_POLYNOMIAL;
  options.precision = ORTHO_PRECISION_BFLOAT16;
  options.coefficients = triples.data();
  options.steps = 5;
  KernelTable without = table;  // the same products on float32 instructions
  without.pairs = {};
  const int64_t shapes[][2] = {{1, 1}, {1, 30}, {5, 7}, {16, 27}, {31, 31}, {40, 700}, {97, 130}};
  for (const auto& [m, n] : shapes) {
    std::vector<double> x(m * n);
    // Sums of twelve: near enough to a normal distribution.
    for (double& value : x)
      for (int i = 0; i < 12; ++i) value += random.Next();
    std::vector<float> stored(x.begin(), x.end());
    const std::vector<double> truth =
        Polynomial({stored.begin(), stored.end()}, m, n, triples.data());
    const std::vector<float> pairs = Run(table, stored, m, n, options);
    const double error = Distance(pairs, truth);
    const double usual = Distance(Run(without, stored, m, n, options), truth);
    CHECK(error <= 0.1 && error > 0, "%dx%d: %g", int(m), int(n), error);
    CHECK(error <= 1.5 * usual + 1e-3, "%dx%d: %g, by float32 products %g", int(m), int(n), error,
          usual);

    std::vector<float> tall(stored.size()), turned(stored.size());
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) tall[j * m + i] = stored[i * n + j];
    tall = Run(table, tall, n, m, options);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) turned[i * n + j] = tall[j * m + i];
    CHECK(m == n || turned == pairs, "%dx%d: the transpose has other bits", int(m), int(n));
    for (float& value : stored) value *= 0x1p-90f;
    CHECK(Run(table, stored, m, n, options) == pairs, "%dx%d: scaled", int(m), int(n));
  }
}

}  // namespace
}  // namespace ortho::test

int main() {
  using namespace ortho::test;
  TestArithmetic();
  return OnEveryTable([](const auto& table) {
    if (table.pairs.product == nullptr) return;
    CHECK(table.pairs.vector == table.f32.vector && table.pairs.rows == table.f32.rows &&
              table.pairs.panel == table.f32.panel,
          "pairs and float32 share their panels");
    TestProducts(table.pairs);
    TestArrangement(table.pairs);
    TestPolynomial(table);
  });
}
