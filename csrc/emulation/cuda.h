// What a kernel source sees in place of the CUDA runtime when a C++ compiler compiles it: the
// toolkit's own types, the built-in variables, and every device function that the kernels use.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "emulation/grid.h"
#include "emulation/memory.h"

#undef __launch_bounds__
#define __launch_bounds__(...)

#define threadIdx (::ortho::emulation::ThreadIndex())
#define blockIdx (::ortho::emulation::BlockIndex())
#define gridDim (::ortho::emulation::GridSize())

// Shared memory and launches, as cuda/launch.h has them.
#define ORTHO_SHARED_ARRAY(T, name, count)                         \
  static const char name##_declaration = 0;                        \
  T* const name = static_cast<T*>(::ortho::emulation::SharedArray( \
      &name##_declaration, "shared array " #name, sizeof(T) * (count)))
#define ORTHO_DYNAMIC_SHARED(T, name) \
  T* const name =                     \
      static_cast<T*>(::ortho::emulation::SharedArray(nullptr, "dynamic shared memory", 0))
#define ORTHO_GRID_CONSTANT(T) const T&
#define ORTHO_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  (static_cast<void>(stream),                                        \
   ::ortho::emulation::LaunchKernel(kernel, grid, block, shared_bytes, __VA_ARGS__))

namespace ortho::emulation {

// False, and an error for cudaGetLastError, where a GPU would refuse to start the kernel.
bool MayLaunch(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes);

template <typename... Parameters, typename... Arguments>
void LaunchKernel(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                  Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<std::decay_t<Parameters>...> parameters;
  };
  if (!MayLaunch(reinterpret_cast<const void*>(kernel), grid, block, shared_bytes)) return;
  const Call call{kernel, {std::forward<Arguments>(arguments)...}};
  Launch(
      grid, block, shared_bytes,
      [](const void* packed) {
        const Call& here = *static_cast<const Call*>(packed);
        std::apply(here.kernel, here.parameters);
      },
      &call, sizeof(call));
}

}  // namespace ortho::emulation

#define ORTHO_HERE ::ortho::emulation::Site site = ::ortho::emulation::Here()

inline void __syncthreads(ORTHO_HERE) { ::ortho::emulation::Barrier("__syncthreads", site); }
inline void __syncwarp(uint32_t mask = ~0u, ORTHO_HERE) {
  ::ortho::emulation::Collective("__syncwarp", mask, site, nullptr, nullptr, nullptr, true);
}
inline uint32_t __ballot_sync(uint32_t mask, int predicate, ORTHO_HERE) {
  return ::ortho::emulation::Ballot("__ballot_sync", mask, site, predicate != 0);
}
template <typename T>
T __shfl_xor_sync(uint32_t mask, T value, int flip, ORTHO_HERE) {
  T result;
  ::ortho::emulation::Shuffle("__shfl_xor_sync", mask, site, &value, &result, sizeof(T),
                              ::ortho::emulation::Lane() ^ flip);
  return result;
}
#undef ORTHO_HERE

// All threads run on one core and give way only where they wait: an atomic needs no more than to be
// seen as one, and not as a load and a store.
template <typename T>
__attribute__((no_sanitize("thread"), noinline)) T atomicAdd(T* address, T value) {
  ::ortho::emulation::Touch(address, sizeof(T), ::ortho::emulation::Access::kAtomic,
                            __builtin_return_address(0));
  const T old = *address;
  *address = old + value;
  return old;
}

template <typename To, typename From>
To ortho_same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}
inline uint32_t __float_as_uint(float x) { return ortho_same_bits<uint32_t>(x); }
inline float __uint_as_float(uint32_t bits) { return ortho_same_bits<float>(bits); }
inline int64_t __double_as_longlong(double x) { return ortho_same_bits<int64_t>(x); }
inline double __longlong_as_double(int64_t bits) { return ortho_same_bits<double>(bits); }
inline double __hiloint2double(int high, int low) {
  return __longlong_as_double(int64_t{high} << 32 | static_cast<uint32_t>(low));
}
inline uint32_t __umulhi(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(uint64_t{a} * b >> 32);
}
using std::max, std::min;
