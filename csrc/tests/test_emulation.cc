// The emulator runs right kernels to the right results, and sees each kind of mistake that it
// promises to see, whatever the schedule.
#include <string>

#include "check.h"
#include "device_tensor.h"
#include "emulation_mistakes.h"

namespace ortho::test {
namespace {

using emulation::DeviceBuffer;
using emulation::Violation;

constexpr int kElements = 1000, kBlocks = 3, kTiles = 5;

std::vector<float> Numbers(int n) {
  std::vector<float> x(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i % 7 - 2);
  return x;
}

void RunSum(Mistake mistake) {
  const std::vector<float> values = Numbers(kElements);
  const DeviceBuffer<float> x("x", values), unwritten("unwritten", kElements);
  const DeviceBuffer<float> out("out", std::vector<float>{1});
  float truth = 1;
  for (const float value : values) truth += value;
  const float* source = mistake == Mistake::kHostPointer       ? values.data()
                        : mistake == Mistake::kGlobalUnwritten ? unwritten.data()
                                                               : x.data();
  Sum(mistake, source, out.data(), kElements, kBlocks);
  CHECK(out[0] == truth, "%g instead of %g", out[0], truth);
}

void RunRotate(Mistake mistake) {
  const DeviceBuffer<float> x("x", Numbers(kThreads)), out("out", kThreads);
  Rotate(mistake, x.data(), out.data());
  for (int i = 0; i < kThreads; ++i)
    CHECK(out[i] == x[i / 32 * 32 + (i + 1) % 32], "element %d is %g", i, out[i]);
}

void RunStream(Mistake mistake) {
  constexpr int kTile = kThreads * 4;
  const DeviceBuffer<float> x("x", Numbers(kTiles * kTile)), out("out", kTile);
  Stream(mistake, x.data(), out.data(), kTiles);
  for (int i = 0; i < kTile; ++i) {
    float truth = 0;
    for (int tile = 0; tile < kTiles; ++tile) truth += x[tile * kTile + kTile - 1 - i];
    CHECK(out[i] == truth, "element %d is %g instead of %g", i, out[i], truth);
  }
}

struct Case {
  const char* name;
  void (*run)(Mistake);
  Mistake mistake;
  std::vector<const char*> words;  // all of which the message must have
};

const std::vector<Case> kCases = {
    {"barrier left out",
     RunSum,
     Mistake::kBarrierLeftOut,
     {"array partial", "emulation_mistakes.cu:"}},
    {"barrier in a branch",
     RunSum,
     Mistake::kBarrierInBranch,
     {"deadlock", "32 threads wait in __syncthreads", "32 threads have ended"}},
    {"barriers apart", RunSum, Mistake::kBarriersApart, {"divergent __syncthreads"}},
    {"lane gone", RunSum, Mistake::kLaneGone, {"deadlock", "__shfl_xor_sync"}},
    {"lane not in the mask",
     RunSum,
     Mistake::kLaneNotInMask,
     {"shuffle at emulation_mistakes.cu:", "from lane", "which does not take part"}},
    {"collectives apart",
     RunSum,
     Mistake::kCollectivesApart,
     {"divergent", "__ballot_sync", "__shfl_xor_sync"}},
    {"shared overrun",
     RunSum,
     Mistake::kSharedOverrun,
     {"write of 4 bytes", "out of bounds: offset 8 of shared array partial"}},
    {"shared unwritten", RunSum, Mistake::kSharedUnwritten, {"before anything was written there"}},
    {"global overrun",
     RunSum,
     Mistake::kGlobalOverrun,
     {"read of 4 bytes", "out of bounds: offset 4000 of x, which has 4000 bytes"}},
    {"global unwritten",
     RunSum,
     Mistake::kGlobalUnwritten,
     {"before anything was written there", "of unwritten"}},
    {"host pointer", RunSum, Mistake::kHostPointer, {"in no shared array and no device buffer"}},
    {"parameter written",
     RunSum,
     Mistake::kParameterWritten,
     {"write of 4 bytes", "parameters, which are constant"}},
    {"blocks collide", RunSum, Mistake::kBlocksCollide, {"data race", "of out"}},
    {"warp barrier left out", RunRotate, Mistake::kWarpBarrierLeftOut, {"dynamic shared memory"}},
    {"misaligned", RunRotate, Mistake::kMisaligned, {"misaligned read of 8 bytes"}},
    {"dynamic overrun",
     RunRotate,
     Mistake::kDynamicOverrun,
     {"out of bounds: offset 256 of dynamic shared memory"}},
    {"wait left out",
     RunStream,
     Mistake::kWaitLeftOut,
     {"before the asynchronous copy to it was waited for"}},
    {"wait too short",
     RunStream,
     Mistake::kWaitTooShort,
     {"before the asynchronous copy to it was waited for"}},
    {"wait is no barrier", RunStream, Mistake::kWaitIsNoBarrier, {"array stages"}},
    {"copied too soon", RunStream, Mistake::kCopiedTooSoon, {"data race", "array stages"}},
};

void TestMistakes() {
  for (const Case& test : kCases) {
    std::string message = "nothing";
    try {
      test.run(test.mistake);
    } catch (const Violation& violation) {
      message = violation.what();
    }
    CHECK(message != "nothing", "%s was not seen", test.name);
    for (const char* word : test.words)
      CHECK(message.find(word) != std::string::npos, "%s: no '%s' in: %s", test.name, word,
            message.c_str());
  }
}

void TestRightKernels() {
  RunSum(Mistake::kNone);
  RunRotate(Mistake::kNone);
  RunStream(Mistake::kNone);
}

template <typename T, typename D, typename Run>
void CheckProduct(int m, int n, int k, const std::vector<T>& a, const std::vector<T>& b,
                  const DeviceBuffer<D>& d, const Run& run) {
  run();
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      double truth = 0;
      for (int l = 0; l < k; ++l) truth += double{a[i * k + l]} * b[l * n + j];
      CHECK(d[i * n + j] == truth, "(%d, %d): %g instead of %g", i, j, double{d[i * n + j]}, truth);
    }
}

void TestMatrixInstructions() {
  {
    const std::vector<float> a = Numbers(16 * 16), b = Numbers(16 * 8);
    DeviceTensor a_half("a", Dtype::kFloat16, {16, 16}), b_half("b", Dtype::kFloat16, {16, 8});
    for (size_t i = 0; i < a.size(); ++i) a_half.Set(static_cast<int64_t>(i), a[i]);
    for (size_t i = 0; i < b.size(); ++i) b_half.Set(static_cast<int64_t>(i), b[i]);
    const DeviceBuffer<float> d("d", 16 * 8);
    CheckProduct(16, 8, 16, a, b, d,
                 [&] { MultiplyHalves(a_half.View().data, b_half.View().data, d.data()); });
  }
  const std::vector<double> a = {1,  2,  3, -4, 5,  6, 7, 8, 9, 10, -11, 12, 13, 14, 15, 16,
                                 17, 18, 1, 20, 21, 2, 3, 4, 5, 6,  7,   8,  9,  10, 11, 12};
  const std::vector<double> b(a.rbegin(), a.rend());
  const DeviceBuffer<double> a_device("a", a), b_device("b", b), d("d", 64);
  CheckProduct(8, 8, 4, a, b, d,
               [&] { MultiplyDoubles(a_device.data(), b_device.data(), d.data()); });

  std::vector<uint16_t> tiles(256);
  for (size_t i = 0; i < tiles.size(); ++i) tiles[i] = static_cast<uint16_t>(i);
  const DeviceBuffer<uint16_t> x("x", tiles), movmatrix("movmatrix", 256),
      ldmatrix("ldmatrix", 256);
  TransposeTiles(x.data(), movmatrix.data(), ldmatrix.data());
  for (int i = 0; i < 256; ++i) {
    const int tile = i / 64, row = i % 64 / 8, column = i % 8;
    const int truth = tile * 64 + column * 8 + row;
    CHECK(movmatrix[i] == truth, "element %d is %d instead of %d", i, movmatrix[i], truth);
    CHECK(ldmatrix[i] == truth, "element %d is %d instead of %d", i, ldmatrix[i], truth);
  }
}

}  // namespace
}  // namespace ortho::test

int main() {
  return ortho::test::OnEverySchedule([] {
    ortho::test::TestRightKernels();
    ortho::test::TestMatrixInstructions();
    ortho::test::TestMistakes();
  });
}
