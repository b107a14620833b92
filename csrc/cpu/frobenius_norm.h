// Op frobenius_norm on a CPU.
#pragma once

#include "core/matrix.h"

namespace ortho::cpu {

// One norm per matrix of x, in order; empty matrices have norm 0. NaN or Inf in, NaN or Inf out.
ortho_status FrobeniusNorm(const ortho_tensor& x, double* norms);

}  // namespace ortho::cpu
