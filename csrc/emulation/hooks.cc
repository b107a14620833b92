// The functions that -fsanitize=thread makes the compiler call before every load and store. Here
// they are ours: ThreadSanitizer's library is not linked, and knows nothing of blocks and warps.
#include "emulation/memory.h"

using ortho::emulation::Access;
using ortho::emulation::Touch;

#define ORTHO_HOOK(name, bytes, access, alignment)                         \
  void __tsan_##name##bytes(void* address) {                               \
    Touch(address, bytes, access, __builtin_return_address(0), alignment); \
  }
// "unaligned" is what the compiler itself takes apart: a struct of floats, say.
#define ORTHO_HOOKS(bytes)                            \
  ORTHO_HOOK(read, bytes, Access::kRead, bytes)       \
  ORTHO_HOOK(write, bytes, Access::kWrite, bytes)     \
  ORTHO_HOOK(unaligned_read, bytes, Access::kRead, 1) \
  ORTHO_HOOK(unaligned_write, bytes, Access::kWrite, 1)

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
