#include "cpu/element_list.h"

#include <algorithm>

#include "cpu/pieces.h"

namespace ortho::cpu {
namespace {

void LoadSome(const KernelTable& table, const Elements& x, int64_t begin, int64_t n, float* to) {
  const auto load = table.f32.load[static_cast<int>(x.dtype)];
  const int64_t item = ItemSize(x.dtype);
  ForPieces(x.axis, begin, n, [&](int64_t offset, int64_t stride, int64_t i, int64_t here) {
    const char* from = x.data + offset * item;
    if (stride == 1)
      load(1, here, from, here, 1.0F, to + i, here);
    else
      load(here, 1, from, stride, 1.0F, to + i, 1);
  });
}

}  // namespace

ElementList::ElementList(std::vector<Elements> tensors) : tensors_(std::move(tensors)) {
  begins_.reserve(tensors_.size());
  int64_t begin = 0;
  for (const Elements& tensor : tensors_) {
    begins_.push_back(begin);
    begin += tensor.axis.size;
  }
}

void ElementList::Load(const KernelTable& table, int64_t begin, int64_t n, float* to) const {
  if (n == 0) return;
  // The last tensor that begins here or before; empty ones end at once.
  auto i = static_cast<size_t>(std::upper_bound(begins_.begin(), begins_.end(), begin) -
                               begins_.begin() - 1);
  for (int64_t done = 0; done < n; ++i) {
    const int64_t skip = begin + done - begins_[i];
    const int64_t here = std::min(n - done, tensors_[i].axis.size - skip);
    LoadSome(table, tensors_[i], skip, here, to + done);
    done += here;
  }
}

}  // namespace ortho::cpu
