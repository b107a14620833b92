// The elementwise half of an optimiser step: every row of the kernel table against the rule in
// float64 (step_rule.h), on every type.
#include <cstring>
#include <limits>

#include "check.h"
#include "core/matrix.h"
#include "cpu/convert.h"
#include "cpu/step_rule.h"

namespace ortho::test {
namespace {

using cpu::KernelTable;
using cpu::StepArrays;
using cpu::StepRule;

template <typename S>
struct Type;
template <>
struct Type<cpu::Half> {
  static constexpr Dtype kDtype = Dtype::kFloat16;
  static constexpr double kEps = 0x1p-23, kStored = 0x1p-11;
};
template <>
struct Type<cpu::Bfloat> {
  static constexpr Dtype kDtype = Dtype::kBfloat16;
  static constexpr double kEps = 0x1p-23, kStored = 0x1p-8;
};
template <>
struct Type<float> {
  static constexpr Dtype kDtype = Dtype::kFloat32;
  static constexpr double kEps = 0x1p-23, kStored = 0;
};
template <>
struct Type<double> {
  static constexpr Dtype kDtype = Dtype::kFloat64;
  static constexpr double kEps = 0x1p-52, kStored = 0;
};

template <typename S>
double Value(S x) {
  return static_cast<double>(cpu::Widen(x));
}

// In memory that is aligned to an element and no more, with a guard behind it.
template <typename S>
struct Vector {
  static constexpr int kBefore = 1;
  std::vector<S> storage;
  int64_t n;

  Vector(Random& random, int64_t count) : storage(static_cast<size_t>(count) + 2), n(count) {
    for (S& x : storage) x = cpu::Narrow<S>::From(random.Next());
  }
  S* data() { return storage.data() + kBefore; }
  double operator[](int64_t i) const { return Value(storage[static_cast<size_t>(i) + kBefore]); }
  bool SameEnds(const Vector& other) const {
    return std::memcmp(&storage.front(), &other.storage.front(), sizeof(S)) == 0 &&
           std::memcmp(&storage.back(), &other.storage.back(), sizeof(S)) == 0;
  }
};

double Lerp(double from, double to, double weight) { return from + weight * (to - from); }

// What g, v and w become; `v` and `w` are not looked at where there is none.
struct Wanted {
  double v = 0, w = 0, direction = 0;
  Wanted(const StepRule& rule, double scale, double g, bool buffered, double old_v, double old_w) {
    g *= scale;
    if (rule.coupled) g += rule.decay * old_w;
    direction = g;
    if (buffered) {
      v = rule.average ? Lerp(old_v, g, rule.coming) : rule.coming * g + rule.carried * old_v;
      direction = v;
      if (rule.nesterov)
        direction = rule.average ? Lerp(g, v, rule.momentum) : g + rule.momentum * v;
    }
    w = (rule.decoupled ? rule.kept * old_w : old_w) - rule.lr * direction;
  }
};

template <typename S>
void Check(const KernelTable& table, const StepRule& rule, bool buffered, bool directs, int64_t n,
           Random& random) {
  const auto step = table.step[static_cast<int>(Type<S>::kDtype)];
  Vector<S> g(random, n), v(random, n), w(random, n), d(random, n);
  const Vector<S> old_g = g, old_v = v, old_w = w, old_d = d;
  const double scale = -1.5;
  step(rule, scale, n,
       StepArrays{g.data(), buffered ? v.data() : nullptr, w.data(), directs ? d.data() : nullptr});
  // Numbers of size 8 at most, ten roundings, and the one of the store.
  constexpr double kBound = 8 * (10 * Type<S>::kEps + Type<S>::kStored);
  for (int64_t i = 0; i < n; ++i) {
    const Wanted wanted(rule, scale, old_g[i], buffered, old_v[i], old_w[i]);
    CHECK(g[i] == old_g[i], "g was written at %d", int(i));
    CHECK(std::abs(v[i] - (buffered ? wanted.v : old_v[i])) <= (buffered ? kBound : 0),
          "v is %g for %g at %d of %d", v[i], wanted.v, int(i), int(n));
    CHECK(std::abs(w[i] - (directs ? old_w[i] : wanted.w)) <= (directs ? 0 : kBound),
          "w is %g for %g at %d of %d", w[i], wanted.w, int(i), int(n));
    CHECK(std::abs(d[i] - (directs ? wanted.direction : old_d[i])) <= (directs ? kBound : 0),
          "the direction is %g for %g at %d of %d", d[i], wanted.direction, int(i), int(n));
  }
  CHECK(g.SameEnds(old_g) && v.SameEnds(old_v) && w.SameEnds(old_w) && d.SameEnds(old_d),
        "written beside its place, n = %d", int(n));
}

template <typename S>
void EveryRule(const KernelTable& table, Random& random) {
  for (int flags = 0; flags < 64; ++flags) {
    StepRule rule;
    rule.average = flags & 1;
    rule.nesterov = flags & 2;
    rule.coupled = flags & 4;
    rule.decoupled = flags & 8;
    rule.carried = 0.9, rule.momentum = 0.9, rule.decay = 0.3, rule.kept = 0.97, rule.lr = 0.1;
    for (const double coming : {0.1, 0.7})  // the two forms of an average
      for (const int64_t n : {0, 1, 5, 31, 32, 33, 64, 200}) {
        rule.coming = coming;
        Check<S>(table, rule, flags & 16, flags & 32, n, random);
      }
  }
}

// NaN and Inf stay what they are, zeros keep their sign, and a neighbour feels nothing.
template <typename S>
void Specials(const KernelTable& table, Random& random) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const auto step = table.step[static_cast<int>(Type<S>::kDtype)];
  const double specials[] = {NAN, -NAN, kInf, -kInf, 0.0, -0.0};
  for (int64_t at = 0; at < 40; ++at)
    for (const double special : specials) {
      StepRule rule;  // d = g, w <- w - d
      rule.lr = 1;
      Vector<S> g(random, 40), w(random, 40), d(random, 40);
      g.data()[at] = cpu::Narrow<S>::From(special);
      step(rule, 1, 40, StepArrays{g.data(), nullptr, w.data(), d.data()});
      for (int64_t i = 0; i < 40; ++i)
        CHECK((std::isnan(g[i]) && std::isnan(d[i])) ||
                  (d[i] == g[i] && std::signbit(d[i]) == std::signbit(g[i])),
              "%g became %g at %d", g[i], d[i], int(i));
      step(rule, 1, 40, StepArrays{g.data(), nullptr, w.data(), nullptr});
      for (int64_t i = 0; i < 40; ++i)
        CHECK(std::isfinite(w[i]) == std::isfinite(g[i]), "w is %g at %d", w[i], int(i));
    }
}

// A direction is its g where nothing is added: every number of a half type there and back.
template <typename S>
void EveryHalf(const KernelTable& table) {
  std::vector<S> all(65536), out(65536);
  for (int bits = 0; bits < 65536; ++bits) all[bits] = S{static_cast<uint16_t>(bits)};
  table.step[static_cast<int>(Type<S>::kDtype)](
      StepRule{}, 1, 65536, StepArrays{all.data(), nullptr, nullptr, out.data()});
  for (int bits = 0; bits < 65536; ++bits)
    CHECK(out[bits].bits == bits || (std::isnan(Value(all[bits])) && std::isnan(Value(out[bits]))),
          "%#x became %#x", bits, out[bits].bits);
}

// Rounding is to nearest, ties to even, as convert.h's: halves of every number, which are ties
// among the subnormal ones, and sums that need one more bit.
template <typename S>
void RoundsAsConvert(const KernelTable& table) {
  std::vector<S> all(65536), w(65536), out;
  for (int bits = 0; bits < 65536; ++bits) {
    all[bits] = S{static_cast<uint16_t>(bits)};
    w[bits] = S{static_cast<uint16_t>(bits * 40503u)};  // in another order
  }
  for (const double scale : {0.5, 0.75, 3.0, 1 + 0x1p-12}) {
    StepRule rule;
    rule.coupled = true, rule.decay = 1;
    out.assign(65536, S{});
    table.step[static_cast<int>(Type<S>::kDtype)](
        rule, scale, 65536, StepArrays{all.data(), nullptr, w.data(), out.data()});
    for (int i = 0; i < 65536; ++i) {
      const float product = cpu::Widen(all[i]) * static_cast<float>(scale);
      const S wanted = cpu::Narrow<S>::From(product + cpu::Widen(w[i]));
      CHECK(out[i].bits == wanted.bits || (std::isnan(Value(out[i])) && std::isnan(Value(wanted))),
            "%#x for %#x", out[i].bits, wanted.bits);
    }
  }
}

// torch rounds these products before it adds them, and so must machines that could fuse the two:
// scale g, carried v and kept w, each beside a factor of 1.
template <typename T>
void RoundsProducts(const KernelTable& table, Random& random) {
  constexpr int64_t kN = 1000;
  Vector<T> g(random, kN), v(random, kN), w(random, kN);
  const Vector<T> old_g = g, old_v = v, old_w = w;
  StepRule rule;
  rule.decoupled = true;
  rule.carried = 0.9, rule.kept = 0.97, rule.lr = 1;
  const double scale = 1.1;
  const auto rounded = [](double a, double b) { return static_cast<T>(a) * static_cast<T>(b); };
  table.step[static_cast<int>(Type<T>::kDtype)](rule, scale, kN,
                                                StepArrays{g.data(), v.data(), w.data(), nullptr});
  for (int64_t i = 0; i < kN; ++i) {
    const volatile T product = rounded(scale, old_g[i]), kept = rounded(rule.kept, old_w[i]);
    const volatile T carried = rounded(rule.carried, old_v[i]);
    const T wanted = product + carried;
    CHECK(v[i] == static_cast<double>(wanted), "v is %.17g for %.17g", v[i], double(wanted));
    CHECK(w[i] == static_cast<double>(kept - wanted), "w is %.17g", w[i]);
  }
  rule.coupled = true, rule.decay = 1;
  w = old_w;
  table.step[static_cast<int>(Type<T>::kDtype)](rule, scale, kN,
                                                StepArrays{g.data(), nullptr, w.data(), v.data()});
  for (int64_t i = 0; i < kN; ++i) {
    const volatile T product = rounded(scale, old_g[i]);
    CHECK(v[i] == static_cast<double>(product + static_cast<T>(w[i])), "decayed to %.17g", v[i]);
  }
}

template <typename S>
void TestType(const KernelTable& table) {
  Random random(7);
  EveryRule<S>(table, random);
  Specials<S>(table, random);
}

void Test(const KernelTable& table) {
  TestType<cpu::Half>(table);
  TestType<cpu::Bfloat>(table);
  TestType<float>(table);
  TestType<double>(table);
  Random random(8);
  RoundsProducts<float>(table, random);
  RoundsProducts<double>(table, random);
  EveryHalf<cpu::Half>(table);
  EveryHalf<cpu::Bfloat>(table);
  RoundsAsConvert<cpu::Half>(table);
  RoundsAsConvert<cpu::Bfloat>(table);
}

}  // namespace
}  // namespace ortho::test

int main() { return ortho::test::OnEveryTable(ortho::test::Test); }
