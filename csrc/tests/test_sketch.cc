// The count-sketch: every row of the kernel table against its plain words, to the bit, and the hash
// against numbers that docs/ops/sketch.md prints.
#include <cstring>

#include "check.h"
#include "core/matrix.h"
#include "cpu/convert.h"
#include "cpu/sketch_hash.h"

namespace ortho::test {
namespace {

using cpu::KernelTable;

void HashIsTheOneOfTheDocs() {
  const struct {
    uint64_t seed, index;
    uint32_t word;
  } wanted[] = {
      {0, 0, 0xf8bf0824u}, {1, 12345, 0x1fc12c17u}, {7, (uint64_t{3} << 32) + 5, 0x40b1c348u}};
  for (const auto& [seed, index, word] : wanted) {
    const cpu::SketchHash hash = cpu::MakeSketchHash(seed, index >> 32, 16);
    const uint32_t got = cpu::SketchWord(hash, static_cast<uint32_t>(index));
    CHECK(got == word, "%#x for %#x", got, word);
  }
}

template <typename S>
void Check(const KernelTable& table, Dtype dtype, uint32_t index, int64_t n, Random& random) {
  constexpr uint32_t kDim = 37;
  const cpu::SketchHash hash = cpu::MakeSketchHash(5, 0, kDim);
  std::vector<S> x(static_cast<size_t>(n) + 1);  // read from an odd address
  for (S& one : x) one = cpu::Narrow<S>::From(random.Next());
  std::vector<double> got(kDim, 0.5), wanted(kDim, 0.5);
  table.sketch[static_cast<int>(dtype)](hash, index, n, x.data() + 1, got.data());
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t word = cpu::SketchWord(hash, index + static_cast<uint32_t>(i));
    const double one = static_cast<double>(cpu::Widen(x[static_cast<size_t>(i) + 1]));
    wanted[(uint64_t{word} * kDim) >> 32] += word % 2 == 1 ? -one : one;
  }
  CHECK(std::memcmp(got.data(), wanted.data(), kDim * sizeof(double)) == 0, "dtype %d, %d from %u",
        int(dtype), int(n), index);
}

void Test(const KernelTable& table) {
  Random random(3);
  for (const int64_t n : {0, 1, 7, 31, 32, 33, 64, 65, 300})
    for (const uint32_t index : {0u, 1u, 12345u, ~0u - 300u}) {
      Check<cpu::Half>(table, Dtype::kFloat16, index, n, random);
      Check<cpu::Bfloat>(table, Dtype::kBfloat16, index, n, random);
      Check<float>(table, Dtype::kFloat32, index, n, random);
      Check<double>(table, Dtype::kFloat64, index, n, random);
    }
}

}  // namespace
}  // namespace ortho::test

int main() {
  ortho::test::HashIsTheOneOfTheDocs();
  return ortho::test::OnEveryTable(ortho::test::Test);
}
