// A flow of control with a stack of its own: what stands for one CUDA thread while others run.
#pragma once

#include <cstddef>

namespace ortho::emulation {

class Fiber {
 public:
  // The first Resume calls `entry`, which may Suspend and must never return.
  void Start(char* stack, size_t bytes, void (*entry)());
  void Resume();   // from the scheduler: go on until the fiber suspends
  void Suspend();  // from the fiber: back to whoever resumed it

 private:
  void *own_ = nullptr, *resumer_ = nullptr;  // stack pointers; the registers lie on the stacks
};

}  // namespace ortho::emulation
