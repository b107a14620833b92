// One call of polar, as all devices see it.
#pragma once

#include <cstdint>

#include "core/words.h"

namespace ortho {

// Two faces: `polar` of one tensor, `polar_foreach` of a list. They differ in the words only.
struct PolarCall {
  const ortho_polar_options& options;
  const ortho_tensor* inputs;
  const int64_t* row_blocks;
  int64_t count;

  bool many() const { return row_blocks != nullptr || count != 1; }
  const char* op() const { return many() ? "polar_foreach" : "polar"; }
  ArgumentName InputName(int64_t i) const {
    return many() ? ArgumentName("tensors", i) : ArgumentName("x");
  }
  ArgumentName OutputName(int64_t i) const {
    return many() ? ArgumentName("out", i) : ArgumentName("out");
  }
  int64_t RowBlocks(int64_t i) const {
    return row_blocks ? row_blocks[i] : int64_t{ORTHO_VIEW_BATCH};
  }
};

}  // namespace ortho
