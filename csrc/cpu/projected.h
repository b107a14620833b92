// The polar factor of a matrix with any number of singular values below the rank threshold.
#pragma once

#include "cpu/inverse_root.h"

namespace ortho::cpu {

// Many singular values below the threshold, or some too close to it to be told from their
// neighbours one by one: Y = (G + threshold^2 I)^(-1/2) X first, which has X's singular vectors and
// sigma / sqrt(sigma^2 + threshold^2) for singular values. There nothing kept is small any more,
// the threshold stands at 2^(-1/2), and the projector is sharp: on G itself its rounding, times
// sigma_1, would outweigh what is kept at the threshold. Then the polar factor of the projected Y.
// False if rounding got in the way.
// Spoils ws; `y` is room for a matrix like x.
bool ProjectedRoute(const KernelTable& table, GramWorkspace<double>& ws, const StoredMatrix& x,
                    double scale, double threshold, const StoredMatrix& y, const StoredMatrix& out,
                    Scratch& scratch);

}  // namespace ortho::cpu
