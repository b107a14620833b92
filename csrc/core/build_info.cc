// What this build is and what of it runs here.
#include "core/status.h"
#include "cpu/isa.h"
#include "cpu/thread_pool.h"

#define ORTHO_TEXT(x) #x
#define ORTHO_VALUE_TEXT(x) ORTHO_TEXT(x)

extern "C" {

int32_t ortho_abi_version(void) { return ORTHO_ABI_VERSION; }

const char* ortho_version(void) {
  return ORTHO_VALUE_TEXT(ORTHO_VERSION_MAJOR) "." ORTHO_VALUE_TEXT(
      ORTHO_VERSION_MINOR) "." ORTHO_VALUE_TEXT(ORTHO_VERSION_PATCH);
}

const char* ortho_isa(void) {
  const char* reason = nullptr;
  const ortho::cpu::KernelTable* table = ortho::cpu::ActiveKernels(&reason);
  if (table != nullptr) return table->name;
  ortho::Fail(ORTHO_RUNTIME_ERROR, "isa: %s", reason);
  return nullptr;
}

const char* ortho_cuda_archs(void) {
#if defined(ORTHO_WITH_CUDA)
  return ORTHO_CUDA_ARCHS_STRING;
#else
  return "";
#endif
}

ortho_status ortho_set_num_threads(int32_t threads) {
  if (threads < 1)
    return ortho::Fail(ORTHO_VALUE_ERROR, "set_num_threads: n must be >= 1, got %d", threads);
  ortho::cpu::SetNumThreads(threads);
  return ORTHO_OK;
}

int32_t ortho_get_num_threads(void) { return ortho::cpu::NumThreads(); }

}  // extern "C"
