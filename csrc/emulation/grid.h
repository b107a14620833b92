// A launch: the blocks of a grid one after another, the threads of a block as fibers that give way
// to each other wherever they have to wait, and the places where they meet.
#pragma once

#include <vector_types.h>

#include <cstddef>
#include <cstdint>

#include "emulation/thread.h"

namespace ortho::emulation {

// In what order blocks, and the threads of a block that can go on, are run. A kernel whose result
// depends on it is wrong.
enum class Order { kAscending, kDescending, kRandom };
struct Schedule {
  Order order = Order::kAscending;
  uint32_t seed = 0;
};
extern Schedule schedule;

extern int64_t launches;  // so far

// Of the current thread. Functions, because the kernel's own loads are watched.
uint3 ThreadIndex();
uint3 BlockIndex();
dim3 GridSize();
int Lane();

// Calls body(parameters) once per thread of the grid, and throws a Violation if one did something
// wrong. `parameters` are memory the kernel may read.
void Launch(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(const void*),
            const void* parameters, size_t parameter_bytes);

// Shared memory: one array per `tag` (an address that stands for its declaration), poisoned when
// its block begins; `tag` nullptr: the dynamic one.
void* SharedArray(const void* tag, const char* name, size_t bytes);

// Waits for all threads of the block, and orders their accesses.
void Barrier(const char* what, Site site);

// What the lanes of a warp bring to a collective, and where they want its results.
struct Lanes {
  uint32_t mask;
  const void* in[32];
  void* out[32];
  bool Has(int lane) const { return mask >> lane & 1; }
};
// Waits for all lanes of `mask`; the last one computes everybody's results. `orders`: it also
// orders their accesses to memory, which of all collectives only __syncwarp does.
void Collective(const char* what, uint32_t mask, Site site, const void* in, void* out,
                void (*compute)(const Lanes&), bool orders = false);
void Shuffle(const char* what, uint32_t mask, Site site, const void* value, void* result,
             size_t bytes, int from);
uint32_t Ballot(const char* what, uint32_t mask, Site site, bool vote);

}  // namespace ortho::emulation
