// The few functions of the CUDA runtime that the host side of an op calls: one device, one stream,
// and the refusals that a launch can meet.
#include <cuda_runtime_api.h>

#include <map>

#include "emulation/cuda.h"

namespace {

constexpr size_t kSharedByDefault = size_t{48} << 10, kSharedAtMost = size_t{227} << 10;

cudaError_t last_error = cudaSuccess;
std::map<const void*, size_t> shared_limits;  // of the kernels that asked for more

cudaError_t Remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace

bool ortho::emulation::MayLaunch(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes) {
  const auto limit = shared_limits.find(kernel);
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const bool may =
      grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7FFFFFFF && grid.y <= 65535 &&
      grid.z <= 65535 && threads > 0 && threads <= 1024 &&
      shared_bytes <= (limit == shared_limits.end() ? kSharedByDefault : limit->second);
  return Remember(may ? cudaSuccess : cudaErrorInvalidValue) == cudaSuccess;
}

extern "C" {

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return Remember(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<size_t>(value) > kSharedAtMost)
    return Remember(cudaErrorInvalidValue);
  shared_limits[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (attribute != cudaDevAttrMaxSharedMemoryPerBlockOptin || device != 0)
    return Remember(cudaErrorInvalidValue);
  *value = static_cast<int>(kSharedAtMost);
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorInvalidDevice ? "invalid device ordinal" : "invalid argument";
}

}  // extern "C"
