#include "cpu/isa.h"

#include <cstdlib>
#include <cstring>
#include <string>

namespace ortho::cpu {
namespace {

struct Runnable {
  const KernelTable* rows[6] = {};
  Runnable() {
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#if defined(ORTHO_WITH_AVX512_BF16)
    if (avx512 && __builtin_cpu_supports("avx512bf16")) rows[n++] = &kAvx512Bf16Kernels;
#endif
    if (avx512) rows[n++] = &kAvx512Kernels;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) rows[n++] = &kAvx2Kernels;
    rows[n++] = &kBaselineKernels;
#endif
    rows[n++] = &kReferenceKernels;
  }
};

struct Choice {
  const KernelTable* table = nullptr;
  std::string reason;
  Choice() {
    const char* wanted = std::getenv("ORTHO_ISA");
    std::string names;
    for (const KernelTable* const* row = RunnableKernels(); *row; ++row) {
      if (wanted == nullptr || *wanted == '\0' || std::strcmp(wanted, (*row)->name) == 0) {
        table = *row;
        return;
      }
      names += (names.empty() ? "" : ", ") + std::string((*row)->name);
    }
    reason = "ORTHO_ISA must be one of " + names + " on this machine, got " + wanted;
  }
};

}  // namespace

const KernelTable* const* RunnableKernels() {
  static const Runnable runnable;
  return runnable.rows;
}

const KernelTable* ActiveKernels(const char** reason) {
  static const Choice choice;
  if (choice.table == nullptr && reason != nullptr) *reason = choice.reason.c_str();
  return choice.table;
}

}  // namespace ortho::cpu
