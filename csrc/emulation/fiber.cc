// x86-64 only. swapcontext would do anywhere, but saves the signal mask by two system calls; a
// kernel switches fibers millions of times, and what the ABI asks to be kept is six registers.
#include "emulation/fiber.h"

#include <cstdint>

extern "C" void ortho_switch_stacks(void** save, void* load);
asm(R"(
  .text
  .hidden ortho_switch_stacks
  .globl ortho_switch_stacks
  .type ortho_switch_stacks, @function
ortho_switch_stacks:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");

namespace ortho::emulation {

void Fiber::Start(char* stack, size_t bytes, void (*entry)()) {
  // As ortho_switch_stacks leaves a stack: six registers, where to return to, and above that what a
  // caller would have left, so that `entry` finds the alignment the ABI promises.
  constexpr int kRegisters = 6;
  void** top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(stack + bytes) / 16 * 16);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kRegisters; ++i) *--top = nullptr;
  own_ = top;
}

void Fiber::Resume() { ortho_switch_stacks(&resumer_, own_); }
void Fiber::Suspend() { ortho_switch_stacks(&own_, resumer_); }

}  // namespace ortho::emulation
