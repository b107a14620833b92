// The range of a nearly singular G, told sharply from its null space.
#pragma once

#include "cpu/inverse_root.h"
#include "cpu/jacobi.h"

namespace ortho::cpu {

// ---- Many null directions
// ------------------------------------------------------------------------ p = the projector onto
// the eigenvectors of G above `threshold`, sharp to rounding for eigenvalues a factor 4 away from
// it (a factor 2 in singular values), however many lie below:
//   F = G (G + d I)^-1,   then F <- 3 F^2 - 2 F^3 until it stands still.
// Leaves G' = F G F + filler (I - F) in ws.g, whose spectrum is that of the kept part and `filler`.
// False if a factorization failed.
template <typename T>
bool ProjectOntoRange(const Kernels<T>& kernels, GramWorkspace<T>& ws, double threshold,
                      double filler) {
  if (!Invert(kernels, ws, threshold)) return false;
  Combine(kernels, -threshold, ws.w, 0, ws.w, 1, ws.p);
  // An eigenvalue at a factor 4 is within 1e-16 after 6 steps; one on the threshold itself moves
  // away from 1/2 by a factor 1.5 with each, from rounding if from nothing else.
  constexpr int kMaxSteps = 100;
  for (int step = 0; step < kMaxSteps; ++step) {
    const Panels<T>&square = ws.s, &difference = ws.m;
    MultiplySymmetric(kernels, ws.p, ws.p, square);
    Combine(kernels, 1, square, -1, ws.p, 0, difference);
    const double distance = FrobeniusNorm(kernels, difference);
    MultiplySymmetric(kernels, square, ws.p, T(-2), square, T(3), ws.w);
    std::swap(ws.p, ws.w);
    if (distance < 1e-8) break;  // the step just taken squared it
  }
  ws.has_p = true;
  MultiplySymmetric(kernels, ws.p, ws.g, ws.s);
  MultiplySymmetric(kernels, ws.s, ws.p, ws.m);
  Combine(kernels, 1, ws.m, -filler, ws.p, filler, ws.g);
  return true;
}

// ---- A few null directions
// ----------------------------------------------------------------------- Gradients behind a
// LayerNorm lose one direction, softmax heads lose one: found by block inverse iteration on the
// inverse that is there anyway, they cost O(m^2) each instead of a dozen products.
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
// I)^-1. False if the whole block lies below: there may be more of them than it holds. On an X
// whose singular values beyond the block are all above the threshold the answer is complete.
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
