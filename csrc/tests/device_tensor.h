// Tensors in emulated device memory, for tests of ops whose kernels csrc/emulation runs: any dtype
// and any strides, with elements read and written as doubles, in row-major order of the view.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "core/matrix.h"
#include "emulation/grid.h"
#include "emulation/memory.h"

namespace ortho::test {

class DeviceTensor {
 public:
  // Row-major, with gaps of `gap` elements between rows; poisoned.
  DeviceTensor(const std::string& name, Dtype dtype, std::vector<int64_t> shape, int64_t gap = 0)
      : dtype_(dtype), shape_(std::move(shape)), strides_(shape_.size()), memory_(name, [&] {
          int64_t size = 1;
          for (size_t d = shape_.size(); d-- > 0;) {
            strides_[d] = size;
            size *= std::max<int64_t>(shape_[d], 1);
            if (d + 1 == shape_.size()) size += gap;
          }
          return static_cast<size_t>(size * ItemSize(dtype));
        }()) {}

  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t elements() const {
    int64_t n = 1;
    for (const int64_t size : shape_) n *= size;
    return n;
  }

  // Views of the same memory, which keep their values but not their order.
  void Permute(const std::vector<size_t>& order) {
    const std::vector<int64_t> shape = shape_, strides = strides_;
    for (size_t d = 0; d < order.size(); ++d) {
      shape_[d] = shape[order[d]];
      strides_[d] = strides[order[d]];
    }
  }
  void Transpose() {
    std::vector<size_t> order(shape_.size());
    std::iota(order.begin(), order.end(), 0);
    std::swap(order[order.size() - 2], order[order.size() - 1]);
    Permute(order);
  }
  void Reverse() {
    if (elements() == 0) return;
    for (size_t d = 0; d < shape_.size(); ++d) {
      start_ += (shape_[d] - 1) * strides_[d];
      strides_[d] = -strides_[d];
    }
  }

  double Value(int64_t i) const {
    const char* at = memory_.data() + Offset(i) * ItemSize(dtype_);
    switch (dtype_) {
      case Dtype::kFloat16:
        return __half2float(*reinterpret_cast<const __half*>(at));
      case Dtype::kBfloat16:
        return __bfloat162float(*reinterpret_cast<const __nv_bfloat16*>(at));
      case Dtype::kFloat32:
        return *reinterpret_cast<const float*>(at);
      default:
        return *reinterpret_cast<const double*>(at);
    }
  }
  void Set(int64_t i, double value) {
    char* at = memory_.data() + Offset(i) * ItemSize(dtype_);
    switch (dtype_) {
      case Dtype::kFloat16:
        *reinterpret_cast<__half*>(at) = __double2half(value);
        break;
      case Dtype::kBfloat16:
        *reinterpret_cast<__nv_bfloat16*>(at) = __double2bfloat16(value);
        break;
      case Dtype::kFloat32:
        *reinterpret_cast<float*>(at) = static_cast<float>(value);
        break;
      default:
        *reinterpret_cast<double*>(at) = value;
    }
    memory_.SetValue(static_cast<size_t>(Offset(i) * ItemSize(dtype_)), ItemSize(dtype_));
  }
  bool Written(int64_t i) const {
    return memory_.Written(static_cast<size_t>(Offset(i) * ItemSize(dtype_)));
  }
  // Elements of the memory, those between rows among them, that hold a value.
  int64_t WrittenInAll() const {
    int64_t count = 0;
    const auto item = static_cast<size_t>(ItemSize(dtype_));
    for (size_t at = 0; at + item <= memory_.size(); at += item) count += memory_.Written(at);
    return count;
  }

  void FillRandom(uint64_t seed) {
    Random random(seed);
    for (int64_t i = 0; i < elements(); ++i) Set(i, random.Next());
  }

  ortho_tensor View() const {
    ortho_tensor tensor{};
    tensor.data = memory_.data() + start_ * ItemSize(dtype_);
    tensor.shape = shape_.data();
    tensor.strides = strides_.data();
    tensor.ndim = static_cast<int32_t>(shape_.size());
    tensor.dtype.code = dtype_ == Dtype::kBfloat16 ? ORTHO_DTYPE_BFLOAT : ORTHO_DTYPE_FLOAT;
    tensor.dtype.bits = static_cast<uint8_t>(8 * ItemSize(dtype_));
    tensor.dtype.lanes = 1;
    tensor.device_type = ORTHO_DEVICE_CUDA;
    return tensor;
  }

 private:
  int64_t Offset(int64_t i) const {
    int64_t offset = start_;
    for (size_t d = shape_.size(); d-- > 0; i /= shape_[d]) offset += i % shape_[d] * strides_[d];
    return offset;
  }

  Dtype dtype_;
  std::vector<int64_t> shape_, strides_;
  int64_t start_ = 0;
  emulation::DeviceBuffer<char> memory_;
};

// Runs test() under each; the exit status of the program.
template <typename Test>
int OnEverySchedule(const Test& test) {
  const std::pair<const char*, emulation::Schedule> schedules[] = {
      {"ascending", {emulation::Order::kAscending, 0}},
      {"descending", {emulation::Order::kDescending, 0}},
      {"random", {emulation::Order::kRandom, 1}}};
  for (const auto& [name, schedule] : schedules) {
    context = name;
    emulation::schedule = schedule;
    test();
  }
  return Result();
}

}  // namespace ortho::test
