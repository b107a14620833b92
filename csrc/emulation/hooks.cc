// The functions that -fsanitize=thread makes the compiler call before every load and store. Here
// they are ours: ThreadSanitizer's library is not linked, and knows nothing of blocks and warps.
#include "emulation/memory.h"

using ortho::emulation::Access;
using ortho::emulation::Touch;

#define ORTHO_HOOK(name, bytes, access) \
  void __tsan_##name(void* address) { Touch(address, bytes, access, __builtin_return_address(0)); }
#define ORTHO_HOOKS(bytes)                                \
  ORTHO_HOOK(read##bytes, bytes, Access::kRead)           \
  ORTHO_HOOK(write##bytes, bytes, Access::kWrite)         \
  ORTHO_HOOK(unaligned_read##bytes, bytes, Access::kRead) \
  ORTHO_HOOK(unaligned_write##bytes, bytes, Access::kWrite)

extern "C" {

ORTHO_HOOKS(1)
ORTHO_HOOKS(2)
ORTHO_HOOKS(4)
ORTHO_HOOKS(8)
ORTHO_HOOKS(16)

void __tsan_read_range(void* address, unsigned long bytes) {
  Touch(address, bytes, Access::kRead, __builtin_return_address(0));
}
void __tsan_write_range(void* address, unsigned long bytes) {
  Touch(address, bytes, Access::kWrite, __builtin_return_address(0));
}
void __tsan_init() {}

}  // extern "C"
