// The arithmetic of every row of the kernel table against plain loops in float64.
#include <limits>

#include "check.h"

namespace ortho::test {
namespace {

using cpu::Kernels;

template <typename T>
constexpr double kEps = std::numeric_limits<T>::epsilon();

template <typename T>
void TestGeometry(const Kernels<T>& k) {
  CHECK(k.panel == 3 * k.vector, "panel %d, vector %d", k.panel, k.vector);
  CHECK(k.panel % k.rows == 0, "a tile of %d rows straddles panels of %d", k.rows, k.panel);
  CHECK(k.panel <= 48 && k.rows <= 8, "buffers are sized for 48 x 8");
}

// Rows that run over two panels of the left side, whole or from inside the first.
template <typename T>
void TestProduct(const Kernels<T>& k, Random& random) {
  const auto run = [&](int vectors, int64_t rows, int64_t depth, int64_t from, int addend) {
    const int64_t a_panel = depth * k.panel + 16, size = rows * k.panel;
    Buffer<T> a(3 * a_panel), b(depth * k.panel + 1), c(size), d(size);
    Fill(random, a, 3 * a_panel);
    Fill(random, b, depth * k.panel);
    Fill(random, c, size);
    Fill(random, d, size);
    const std::vector<T> before(c.data(), c.data() + size);
    const T* added = addend == 0 ? nullptr : addend == 1 ? d.data() : c.data();
    k.product(vectors, rows, depth, a.data() + from, a_panel, b.data(), T(0.75), added, T(-1.5),
              c.data());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < k.panel; ++j) {
        const int64_t at = r * k.panel + j, column = from + r;
        if (j >= vectors * k.vector) {
          CHECK(c[at] == before[at], "column %d was written", int(j));
          continue;
        }
        double sum = 0, size = 2;
        for (int64_t i = 0; i < depth; ++i) {
          const double left = a[column / k.panel * a_panel + i * k.panel + column % k.panel];
          sum += left * b[i * k.panel + j];
          size += std::abs(left * b[i * k.panel + j]);
        }
        sum *= 0.75;
        if (addend > 0) sum += -1.5 * (addend == 1 ? d[at] : before[at]);
        const double bound = kEps<T> * size * (static_cast<double>(depth) + 3);
        CHECK(std::abs(c[at] - sum) <= bound, "%g instead of %g, depth %d, row %d of %d",
              double(c[at]), sum, int(depth), int(r), int(rows));
      }
    }
  };
  for (const int64_t depth : {0, 1, 2, 7, 100})
    for (int vectors = 1; vectors <= 3; ++vectors)
      for (const int addend : {0, 1, 2}) {  // none, another matrix, c itself
        for (int64_t rows = 0; rows <= 2 * k.panel + k.rows; rows += k.rows)
          run(vectors, rows, depth, 0, addend);
        for (int64_t from = 0; from < k.panel; from += k.rows)
          run(vectors, k.panel - from, depth, from, addend);
      }
}

// A sum is the same to the bit in whatever tile it is computed.
template <typename T>
void TestTiles(const Kernels<T>& k, Random& random) {
  const int64_t depth = 33, rows = 2 * k.panel, a_panel = depth * k.panel;
  Buffer<T> a(2 * a_panel), b(depth * k.panel), whole(rows * k.panel), part(rows * k.panel);
  Fill(random, a, 2 * a_panel);
  Fill(random, b, depth * k.panel);
  k.product(3, rows, depth, a.data(), a_panel, b.data(), T(0.5), nullptr, T(0), whole.data());
  for (int vectors = 1; vectors <= 3; ++vectors)
    for (const int64_t step : {int64_t{k.rows}, int64_t{k.panel}, rows})
      for (int64_t r = 0; r < rows; r += step) {
        k.product(vectors, step, depth, a.data() + r / k.panel * a_panel + r % k.panel, a_panel,
                  b.data(), T(0.5), nullptr, T(0), part.data());
        for (int64_t i = 0; i < step; ++i)
          for (int64_t j = 0; j < vectors * k.vector; ++j)
            CHECK(part[i * k.panel + j] == whole[(r + i) * k.panel + j], "at %d, %d", int(r + i),
                  int(j));
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
void TestMirror(const Kernels<T>& k, Random& random) {
  for (const int64_t vectors : {1, 2, 3, 4, 7}) {
    const int64_t side = vectors * k.vector, elements = (vectors + 2) / 3 * k.panel * side;
    Buffer<T> a(elements);
    Fill(random, a, elements);
    const std::vector<T> before(a.data(), a.data() + elements);
    const auto at = [&](int64_t r, int64_t c) {
      return c / k.panel * k.panel * side + r * k.panel + c % k.panel;
    };
    k.mirror(side, a.data());
    for (int64_t r = 0; r < side; ++r)
      for (int64_t c = 0; c < side; ++c)
        if (r / k.vector != c / k.vector)  // blocks on the diagonal are there already
          CHECK(a[at(r, c)] == before[r < c ? at(r, c) : at(c, r)], "side %d, at %d, %d", int(side),
                int(r), int(c));
  }
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

}  // namespace
}  // namespace ortho::test

int main() {
  using namespace ortho::test;
  return OnEveryTable([](const auto& table) {
    OnBothTypes(table, [](const auto& kernels, Random& random) {
      TestGeometry(kernels);
      TestProduct(kernels, random);
      TestTiles(kernels, random);
      TestTranspose(kernels, random);
      TestMirror(kernels, random);
      TestCholesky(kernels, random);
      TestVectors(kernels, random);
      TestWeighRows(kernels, random);
    });
  });
}
