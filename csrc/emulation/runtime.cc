// The few functions of the CUDA runtime that the host side of an op calls: one device, one stream,
// and the refusals that a launch can meet.
#include <cuda_runtime_api.h>

#include <map>

#include "emulation/cuda.h"

namespace ortho::emulation {
namespace {

constexpr size_t kSharedByDefault = size_t{48} << 10, kSharedAtMost = size_t{227} << 10;

cudaError_t last_error = cudaSuccess;
std::map<const void*, size_t> shared_limits;  // of the kernels that asked for more

cudaError_t Remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace

bool MayLaunch(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes) {
  const auto limit = shared_limits.find(kernel);
  const bool sizes = grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7FFFFFFF &&
                     grid.y <= 65535 && grid.z <= 65535 && block.x > 0 && block.y > 0 &&
                     block.z > 0 && uint64_t{block.x} * block.y * block.z <= 1024;
  if (!sizes) return Remember(cudaErrorInvalidConfiguration) == cudaSuccess;
  if (shared_bytes > (limit == shared_limits.end() ? kSharedByDefault : limit->second))
    return Remember(cudaErrorInvalidValue) == cudaSuccess;
  return true;
}

}  // namespace ortho::emulation

using ortho::emulation::Remember;

extern "C" {

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return Remember(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      static_cast<size_t>(value) > ortho::emulation::kSharedAtMost)
    return Remember(cudaErrorInvalidValue);
  ortho::emulation::shared_limits[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  const cudaError_t error = ortho::emulation::last_error;
  ortho::emulation::last_error = cudaSuccess;
  return error;
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    default:
      return "invalid argument";
  }
}

}  // extern "C"
