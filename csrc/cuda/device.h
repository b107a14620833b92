// What every op's host side does around its launch: be on the tensor's device, and report in words.
#pragma once

#include "core/status.h"
#include "cuda/launch.h"

namespace ortho::cuda {

// Makes `device` current, and the caller's device current again at the end of the scope.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    error_ = cudaGetDevice(&previous_);
    if (error_ != cudaSuccess || previous_ == device) return;
    error_ = cudaSetDevice(device);
    changed_ = error_ == cudaSuccess;
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
  ~DeviceGuard() {
    if (changed_) cudaSetDevice(previous_);
  }

  cudaError_t error() const { return error_; }

 private:
  int previous_ = 0;
  bool changed_ = false;
  cudaError_t error_ = cudaSuccess;
};

inline ortho_status Check(const char* op, cudaError_t error) {
  if (error == cudaSuccess) return ORTHO_OK;
  cudaGetLastError();  // it is reported here: the next call must not meet it again
  if (error == cudaErrorNoKernelImageForDevice)
    return Fail(ORTHO_RUNTIME_ERROR, "%s: the GPU must be one of %s, which this build was made for",
                op, ortho_cuda_archs());
  return Fail(ORTHO_RUNTIME_ERROR, "%s: CUDA failed: %s", op, cudaGetErrorString(error));
}

}  // namespace ortho::cuda
