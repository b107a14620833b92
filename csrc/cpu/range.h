// A few null directions of a nearly singular G, told sharply from its range.
#pragma once

#include "cpu/inverse_root.h"
#include "cpu/jacobi.h"

namespace ortho::cpu {

// Gradients behind a LayerNorm lose one direction, softmax heads lose one: found by block inverse
// iteration on the inverse that is there anyway, they cost O(m^2) each instead of a dozen products.
constexpr int64_t kNullBlock = 8;

struct NullDirections {
  double* block;      // kNullBlock x side, row-major: orthonormal rows, the null ones first
  double* image;      // kNullBlock x large: block X
  double* rotations;  // kNullBlock^2
  Panels<double> columns, product;
  int64_t count = 0;

  NullDirections(const Kernels<double>& kernels, int64_t side, int64_t large, Scratch& scratch)
      : block(scratch.Take<double>(kNullBlock * side)),
        image(scratch.Take<double>(kNullBlock * large)),
        rotations(scratch.Take<double>(kNullBlock * kNullBlock)) {
    columns = Panels<double>::Take(kernels, side, kNullBlock, scratch);
    product = Panels<double>::Take(kernels, side, kNullBlock, scratch);
  }
};

// Finds the singular directions of X (scaled) with sigma <= threshold, given ws.w = (G + shift
// I)^-1. False if the block cannot tell them apart: all of it lies below the threshold, so that
// there may be more, or its largest sigma is not far enough above the null ones for the iteration
// to have parted them.
bool FindNullDirections(const KernelTable& table, const GramWorkspace<double>& ws,
                        const StoredMatrix& x, double scale, double threshold, NullDirections* null,
                        Scratch& scratch);

// g += lift V V^T
void LiftNullDirections(const Kernels<double>& kernels, const NullDirections& null, double lift,
                        const Panels<double>& g);

// p <- p (I - V V^T)
void RemoveNullDirections(const Kernels<double>& kernels, const NullDirections& null,
                          const Panels<double>& p, double* vectors);

}  // namespace ortho::cpu
