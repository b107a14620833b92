// Every row of the kernel table against plain loops in float64.
#include <limits>
#include <tuple>

#include "check.h"

namespace ortho::test {
namespace {

using cpu::Kernels;
using cpu::KernelsFor;
using cpu::KernelTable;

template <typename T>
constexpr double kEps = std::numeric_limits<T>::epsilon();

template <typename T>
void Fill(Random& random, Buffer<T>& buffer, int64_t n) {
  for (int64_t i = 0; i < n; ++i) buffer[i] = static_cast<T>(random.Next());
}

template <typename T>
void TestGeometry(const Kernels<T>& k) {
  CHECK(k.panel == 3 * k.vector, "panel %d, vector %d", k.panel, k.vector);
  CHECK(k.panel % k.rows == 0, "a tile of %d rows straddles panels of %d", k.rows, k.panel);
  CHECK(k.panel <= 48 && k.rows <= 8, "buffers are sized for 48 x 8");
}

template <typename T>
void TestProduct(const Kernels<T>& k, Random& random) {
  for (const int64_t depth : {0, 1, 2, 7, 100}) {
    for (int vectors = 1; vectors <= 3; ++vectors) {
      for (const int addend : {0, 1, 2}) {  // none, another matrix, c itself
        Buffer<T> a(depth * k.panel + 1), b(depth * k.panel + 1), c(k.rows * k.panel),
            d(k.rows * k.panel);
        Fill(random, a, depth * k.panel);
        Fill(random, b, depth * k.panel);
        Fill(random, d, k.rows * k.panel);
        Fill(random, c, k.rows * k.panel);
        const std::vector<T> before(c.data(), c.data() + k.rows * k.panel);
        const T* from = addend == 0 ? nullptr : addend == 1 ? d.data() : c.data();
        k.product(vectors, depth, a.data(), b.data(), T(0.75), from, T(-1.5), c.data());
        for (int r = 0; r < k.rows; ++r) {
          for (int j = 0; j < k.panel; ++j) {
            const int at = r * k.panel + j;
            if (j >= vectors * k.vector) {
              CHECK(c[at] == before[at], "column %d was written", j);
              continue;
            }
            double sum = 0, size = 2;
            for (int64_t i = 0; i < depth; ++i) {
              sum += static_cast<double>(a[i * k.panel + r]) * b[i * k.panel + j];
              size += std::abs(static_cast<double>(a[i * k.panel + r]) * b[i * k.panel + j]);
            }
            sum *= 0.75;
            if (addend > 0) sum += -1.5 * (addend == 1 ? d[at] : before[at]);
            const double bound = kEps<T> * size * (static_cast<double>(depth) + 3);
            CHECK(std::abs(c[at] - sum) <= bound, "%g instead of %g, depth %d", double(c[at]), sum,
                  int(depth));
          }
        }
      }
    }
  }
}

// Two tiles at once are the two tiles one by one, to the bit.
template <typename T>
void TestProductPair(const Kernels<T>& k, Random& random) {
  for (const int64_t depth : {0, 1, 33}) {
    for (const bool addend : {false, true}) {
      const int64_t rows = 2 * k.rows * k.panel;
      Buffer<T> a(2 * depth * k.panel + 1), b(depth * k.panel + 1), c(rows), d(rows),
          expected(rows);
      Fill(random, a, 2 * depth * k.panel);
      Fill(random, b, depth * k.panel);
      Fill(random, d, rows);
      const T *a0 = a.data(), *a1 = a0 + depth * k.panel, *from = addend ? d.data() : nullptr;
      k.product_pair(depth, a0, a1, b.data(), T(0.5), from, T(2), c.data());
      const int64_t second = k.rows * k.panel;
      k.product(1, depth, a0, b.data(), T(0.5), from, T(2), expected.data());
      k.product(1, depth, a1, b.data(), T(0.5), addend ? from + second : nullptr, T(2),
                expected.data() + second);
      for (int64_t r = 0; r < 2 * k.rows; ++r)
        for (int64_t j = 0; j < k.panel; ++j) {
          const T got = c[r * k.panel + j], want = expected[r * k.panel + j];
          CHECK(got == want || (std::isnan(got) && std::isnan(want)), "at %d, %d", int(r), int(j));
        }
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

template <typename T>
void TestTranspose(const Kernels<T>& k, Random& random) {
  Buffer<T> a(k.vector * k.panel), b(k.vector * 2 * k.panel);
  Fill(random, a, k.vector * k.panel);
  k.transpose(a.data(), k.panel, b.data(), 2 * k.panel);
  for (int r = 0; r < k.vector; ++r)
    for (int c = 0; c < k.vector; ++c)
      CHECK(b[c * 2 * k.panel + r] == a[r * k.panel + c], "at %d, %d", r, c);
  k.transpose(a.data(), k.panel, a.data(), k.panel);  // in place
  for (int r = 0; r < k.vector; ++r)
    for (int c = 0; c < k.vector; ++c)
      CHECK(a[r * k.panel + c] == b[r * 2 * k.panel + c], "in place, at %d, %d", r, c);
}

template <typename T>
void TestCholesky(const Kernels<T>& k, Random& random) {
  for (int n = k.vector; n <= k.panel; n += k.vector) {
    Buffer<T> a(n * k.panel), inverse(n * k.panel), x(n * n);
    Fill(random, x, n * n);
    std::vector<double> matrix(n * n);
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j) {
        double sum = i == j;
        for (int l = 0; l < n; ++l) sum += double(x[i * n + l]) * x[j * n + l];
        matrix[i * n + j] = static_cast<T>(sum);
        a[i * k.panel + j] = static_cast<T>(sum);
      }
    const T pivot = k.cholesky(n, a.data(), inverse.data());
    CHECK(pivot > 0, "pivot %g at n = %d", double(pivot), n);
    const double bound = kEps<T> * n * n * 50;
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) {
        double sum = 0, unit = 0;
        for (int l = 0; l <= std::min(i, j); ++l)
          sum += double(a[l * k.panel + i]) * a[l * k.panel + j];
        CHECK(std::abs(sum - matrix[i * n + j]) <= bound, "U^T U at %d, %d of %d", i, j, n);
        for (int l = j; l <= i; ++l)  // (U^-T U^T)_ij, both lower triangular
          unit += double(inverse[i * k.panel + l]) * a[j * k.panel + l];
        CHECK(std::abs(unit - (i == j)) <= bound || j > i, "inverse at %d, %d of %d", i, j, n);
        if (j > i) CHECK(inverse[i * k.panel + j] == 0, "above the diagonal at %d, %d", i, j);
      }
    }
  }
  // Not positive definite: said, not computed.
  const int n = k.vector;
  Buffer<T> a(n * k.panel), inverse(n * k.panel);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) a[i * k.panel + j] = 1;
  CHECK(!(k.cholesky(n, a.data(), inverse.data()) > 0), "a rank-1 matrix passed");
  a[0] = T(NAN);
  CHECK(!(k.cholesky(n, a.data(), inverse.data()) > 0), "a NaN passed");
}

template <typename T>
void TestVectors(const Kernels<T>& k, Random& random) {
  for (const int64_t n : {0, 1, 3, 16, 63, 257}) {
    Buffer<T> x(n + 1), y(n + 1), z(n + 1);
    Fill(random, x, n);
    Fill(random, y, n);
    k.combine(n, T(2), x.data(), T(-0.5), y.data(), z.data());
    double dot = 0, size = 0;
    for (int64_t i = 0; i < n; ++i) {
      CHECK(std::abs(z[i] - (2.0 * x[i] - 0.5 * y[i])) <= 4 * kEps<T>, "combine at %d", int(i));
      dot += double(x[i]) * y[i];
      size += std::abs(double(x[i]) * y[i]);
    }
    CHECK(std::abs(k.dot(n, x.data(), y.data()) - dot) <= 1e-16 * size * double(n + 1), "dot");
    k.combine(n, T(3), x.data(), T(0), nullptr, z.data());
    for (int64_t i = 0; i < n; ++i) CHECK(z[i] == T(3) * x[i], "scale at %d", int(i));
    CHECK(std::isnan(z[n]), "combine wrote past its end");
    const std::vector<T> p(x.data(), x.data() + n), q(y.data(), y.data() + n);
    k.rotate(n, T(0.6), T(0.8), x.data(), y.data());
    for (int64_t i = 0; i < n; ++i) {
      CHECK(std::abs(x[i] - (0.6 * p[i] - 0.8 * q[i])) <= 4 * kEps<T>, "rotate x at %d", int(i));
      CHECK(std::abs(y[i] - (0.8 * p[i] + 0.6 * q[i])) <= 4 * kEps<T>, "rotate y at %d", int(i));
    }
  }
}

template <typename T>
void TestWeighRows(const Kernels<T>& k, Random& random) {
  for (const int64_t rows : {0, 1, 2, 5, 64}) {
    for (int vectors = 1; vectors <= 3; ++vectors) {
      Buffer<T> a(rows * k.panel + 1), x(rows + 1), y(k.panel);
      Fill(random, a, rows * k.panel);
      Fill(random, x, rows);
      k.weigh_rows(vectors, rows, x.data(), a.data(), y.data());
      for (int j = 0; j < k.panel; ++j) {
        double sum = 0;
        for (int64_t r = 0; r < rows; ++r) sum += double(x[r]) * a[r * k.panel + j];
        if (j < vectors * k.vector)
          CHECK(std::abs(y[j] - sum) <= kEps<T> * double(rows + 1) * 4, "column %d", j);
        else
          CHECK(std::isnan(y[j]), "column %d was written", j);
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

template <typename T>
void TestTable(const KernelTable& table, uint64_t seed) {
  const Kernels<T>& k = KernelsFor<T>(table);
  Random random(seed);
  TestGeometry(k);
  TestProduct(k, random);
  TestProductPair(k, random);
  TestLoadTransposed(k, random);
  TestTranspose(k, random);
  TestCholesky(k, random);
  TestVectors(k, random);
  TestWeighRows(k, random);
}

}  // namespace
}  // namespace ortho::test

int main() {
  using namespace ortho::test;
  return OnEveryTable([](const auto& table) {
    TestTable<float>(table, 1);
    TestTable<double>(table, 2);
    TestMaxAbs(table);
  });
}
