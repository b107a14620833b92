// Full and symmetric products of square matrices as a fraction of what multiply-adds in registers
// alone reach on the same core in the same run. Each is timed in short turns that alternate with
// those of the peak, on the processor's clock; the fastest turn of each counts, for other processes
// can only slow one down. Operations are counted as 2 m^3 for both kinds of product.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <limits>
#include <vector>

#include "cpu/isa.h"
#include "cpu/multiply_pairs.h"
#include "peak.h"

namespace ortho::bench {
namespace {

using namespace ortho::cpu;  // a program, not a header

constexpr int64_t kSizes[] = {64, 128, 512, 768};
constexpr int kTurns = 60;
constexpr double kOperationsOfATurn = 2e8;  // a few milliseconds

double Seconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double Time(const std::function<void()>& work) {
  const double start = Seconds();
  work();
  return Seconds() - start;
}

// Memory for panels, 64-byte aligned, all of it touched.
class Memory {
 public:
  explicit Memory(size_t bytes) : storage_(bytes + 64, 0), scratch_(Aligned(), bytes) {}
  Scratch& scratch() { return scratch_; }

 private:
  char* Aligned() {
    return storage_.data() + (64 - reinterpret_cast<uintptr_t>(storage_.data()) % 64) % 64;
  }
  std::vector<char> storage_;
  Scratch scratch_;
};

struct Operands {
  std::function<void()> full, symmetric;
};

void Report(const char* type, int64_t size, const Operands& products,
            const std::function<double(int64_t)>& peak) {
  const double operations = 2.0 * static_cast<double>(size * size * size);
  const int repeats = std::max(1, static_cast<int>(kOperationsOfATurn / operations));
  double peak_rate = 0, full = std::numeric_limits<double>::max(), symmetric = full;
  products.full();
  products.symmetric();
  for (int turn = 0; turn < kTurns; ++turn) {
    double done = 0;
    const double seconds = Time([&] { done = peak(1000000); });
    peak_rate = std::max(peak_rate, done / seconds);
    for (const auto& [product, best] :
         {std::pair(&products.full, &full), std::pair(&products.symmetric, &symmetric)})
      *best = std::min(*best, Time([&] {
                                for (int i = 0; i < repeats; ++i) (*product)();
                              }) / repeats);
  }
  std::printf("| %s | %d | %.1f | %.1f | %.0f %% | %.1f | %.2f |\n", type, static_cast<int>(size),
              peak_rate / 1e9, operations / full / 1e9, 100 * operations / full / peak_rate,
              operations / symmetric / 1e9, full / symmetric);
}

template <typename T>
void Bench(const KernelTable& table, const char* type, double (*peak)(int64_t, T*)) {
  const Kernels<T>& kernels = KernelsFor<T>(table);
  for (const int64_t size : kSizes) {
    Memory memory(4 * static_cast<size_t>(Panels<T>::Elements(kernels, size, size)) * sizeof(T));
    Panels<T> a = Panels<T>::Take(kernels, size, size, memory.scratch());
    Panels<T> b = Panels<T>::Take(kernels, size, size, memory.scratch());
    Panels<T> c = Panels<T>::Take(kernels, size, size, memory.scratch());
    for (int64_t i = 0; i < a.elements(); ++i) a.data[i] = b.data[i] = T(1) / T(i % 97 + 1);
    T sink = 0;
    Report(type, size,
           {[&] { Multiply<T>(kernels, a, b, T(1), nullptr, T(0), c); },
            [&] { MultiplySymmetric(kernels, a, a, c); }},
           [&](int64_t rounds) { return peak(rounds, &sink); });
  }
}

// bfloat16 operands where the machine multiplies them, against the float32 peak.
void BenchPairs(const KernelTable& table, double (*peak)(int64_t, float*)) {
  for (const int64_t size : kSizes) {
    Memory memory(4 * static_cast<size_t>(Panels<float>::Elements(table.f32, size, size)) * 4);
    const PairPanels a = TakePairs(table.pairs, size / 2, size, memory.scratch());
    const PairPanels b = TakePairs(table.pairs, size / 2, size, memory.scratch());
    const Panels<float> c = Panels<float>::Take(table.f32, size, size, memory.scratch());
    float sink = 0;
    Report("bfloat16", size,
           {[&] { Multiply<float>(table.pairs, a, b, 1.0f, nullptr, 0.0f, c); },
            [&] {
              Multiply<float>(table.pairs, a, a, 1.0f, nullptr, 0.0f, c, Shape::kUpper);
              table.f32.mirror(size, c.data);
            }},
           [&](int64_t rounds) { return peak(rounds, &sink); });
  }
}

}  // namespace
}  // namespace ortho::bench

int main() {
  using namespace ortho;
  const char* reason = "";
  const cpu::KernelTable* table = cpu::ActiveKernels(&reason);
  if (table == nullptr) return std::fprintf(stderr, "%s\n", reason), 1;
  const bool avx512 = std::strncmp(table->name, "avx512", 6) == 0;
  const bool avx2 = std::strcmp(table->name, "avx2") == 0;
  const bench::Peak& peak = avx512 ? bench::kAvx512Peak
                            : avx2 ? bench::kAvx2Peak
                                   : bench::kBaselinePeak;
  std::printf("Kernels: %s; GFLOP/s.\n\n", table->name);
  std::printf("| type | size | peak | full | of peak | symmetric | times as fast as full |\n");
  std::printf("|---|---:|---:|---:|---:|---:|---:|\n");
  bench::Bench<float>(*table, "float32", peak.f32);
  bench::Bench<double>(*table, "float64", peak.f64);
  if (table->pairs.product != nullptr) bench::BenchPairs(*table, peak.f32);
}
