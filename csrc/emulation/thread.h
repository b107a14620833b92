// One CUDA thread, as the emulator sees it, and how it says that the kernel is wrong.
#pragma once

#include <vector_types.h>

#include <cstdint>
#include <deque>
#include <stdexcept>
#include <string>
#include <vector>

#include "emulation/fiber.h"

namespace ortho::emulation {

// A line of the kernel's source. As a default argument, Here() is the line of the call.
struct Site {
  const char* file;
  int line;
};
constexpr Site Here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return {file, line};
}
std::string Text(Site site);           // "frobenius_norm.cu:86"
std::string Text(const void* caller);  // the same from a return address

// What a launch throws when a kernel does something a GPU would not forgive.
class Violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Meeting;

struct AsyncCopy {
  void* to;  // 16 bytes
  const void* from;
  size_t bytes;  // the others become zeros
  const void* caller;
};

struct Thread {
  uint3 index;
  uint16_t id, warp, lane;
  const char *stack, *stack_end;
  Fiber fiber;
  bool done;

  const Meeting* waiting;  // for this round of it to end
  uint64_t round;

  // A vector clock: accesses of thread t up to clock[t] happened before whatever this one does now.
  std::vector<uint32_t> clock;

  std::vector<AsyncCopy> uncommitted;
  std::deque<std::vector<AsyncCopy>> committed;
};

extern Thread* current;  // nullptr while the host runs

// Ends the launch of the current thread: Launch throws what it did, and where.
[[noreturn]] void Violate(const std::string& what);

}  // namespace ortho::emulation
