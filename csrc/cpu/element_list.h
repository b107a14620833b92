// Tensors of any shapes, strides and dtypes as one long vector, read a stretch at a time.
#pragma once

#include <utility>
#include <vector>

#include "core/matrix.h"
#include "cpu/kernel_table.h"

namespace ortho::cpu {

class ElementList {
 public:
  explicit ElementList(std::vector<Elements> tensors);
  // to[0, n) = elements [begin, begin + n), as float32.
  void Load(const KernelTable& table, int64_t begin, int64_t n, float* to) const;

 private:
  std::vector<Elements> tensors_;
  std::vector<int64_t> begins_;  // of each tensor in the vector
};

}  // namespace ortho::cpu
