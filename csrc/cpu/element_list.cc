#include "cpu/element_list.h"

#include <algorithm>

namespace ortho::cpu {
namespace {

// n elements of one stride.
void LoadPiece(const KernelTable& table, Dtype dtype, const char* from, int64_t stride, int64_t n,
               float* to) {
  const auto load = table.f32.load[static_cast<int>(dtype)];
  if (stride == 1)
    load(1, n, from, n, 1.0F, to, n);
  else
    load(n, 1, from, stride, 1.0F, to, 1);
}

void LoadSome(const KernelTable& table, const StoredElements& x, int64_t begin, int64_t n,
              float* to) {
  const Axis& axis = x.elements;
  const int64_t item = ItemSize(x.dtype);
  if (axis.dim_count == 0)
    return LoadPiece(table, x.dtype, x.data + begin * axis.stride * item, axis.stride, n, to);
  const Axis::Dim& last = axis.dims[axis.dim_count - 1];
  for (int64_t i = 0; i < n;) {
    const int64_t at = begin + i, here = std::min(n - i, last.size - at % last.size);
    LoadPiece(table, x.dtype, x.data + axis.Offset(at) * item, last.stride, here, to + i);
    i += here;
  }
}

}  // namespace

ElementList::ElementList(std::vector<StoredElements> tensors) : tensors_(std::move(tensors)) {
  begins_.reserve(tensors_.size());
  int64_t begin = 0;
  for (const StoredElements& tensor : tensors_) {
    begins_.push_back(begin);
    begin += tensor.elements.size;
  }
}

void ElementList::Load(const KernelTable& table, int64_t begin, int64_t n, float* to) const {
  if (n == 0) return;
  // The last tensor that begins here or before; empty ones end at once.
  auto i = static_cast<size_t>(std::upper_bound(begins_.begin(), begins_.end(), begin) -
                               begins_.begin() - 1);
  for (int64_t done = 0; done < n; ++i) {
    const int64_t skip = begin + done - begins_[i];
    const int64_t here = std::min(n - done, tensors_[i].elements.size - skip);
    LoadSome(table, tensors_[i], skip, here, to + done);
    done += here;
  }
}

}  // namespace ortho::cpu
