// Op all_finite on a CPU.
#pragma once

#include "core/matrix.h"

namespace ortho::cpu {

// Whether no number of any of the tensors is NaN or Inf.
ortho_status AllFinite(const ortho_tensor* tensors, int64_t count, bool* finite);

}  // namespace ortho::cpu
