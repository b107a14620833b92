// Op polar on a CPU: one matrix by a method, many matrices over the threads.
#pragma once

#include <vector>

#include "core/matrix.h"
#include "cpu/panels.h"

namespace ortho::cpu {

struct PolarPair {
  Matrix x, out;
};

// Bytes of scratch for PolarAll on these inputs, whatever the layout of the outputs, with the
// current number of threads.
size_t PolarWorkspace(const KernelTable& table, const ortho_polar_options& options,
                      const std::vector<PolarPair>& pairs);

// The largest matrices first, each on one thread or, if they outweigh the rest, on all; what a
// matrix becomes depends on nothing but itself. False, with nothing done, if the workspace is too
// small.
bool PolarAll(const KernelTable& table, const ortho_polar_options& options,
              const std::vector<PolarPair>& pairs, void* workspace, size_t workspace_bytes);

// One matrix of it; measures when `scratch` does. pair.x and pair.out may be the same memory.
void PolarMatrix(const KernelTable& table, const ortho_polar_options& options,
                 const PolarPair& pair, Scratch& scratch);

// About how many multiplications that takes.
double PolarCost(const Matrix& x);

// ---- The methods. x is finite and not all zero, scaled by `scale` (a power of two) its largest
// element is in [1, 2), or as near to that as float32 has a power to bring it; x and out agree in
// size, and may be the same memory. Each measures when `scratch` does.

// exact.cc
void ExactPolar(const KernelTable& table, const ortho_polar_options& options, const StoredMatrix& x,
                double scale, const StoredMatrix& out, Scratch& scratch);
// newton.cc
void NewtonPolar(const KernelTable& table, const ortho_polar_options& options,
                 const StoredMatrix& x, double scale, const StoredMatrix& out, Scratch& scratch);
// polynomial.cc
void PolynomialPolar(const KernelTable& table, const ortho_polar_options& options,
                     const StoredMatrix& x, double scale, const StoredMatrix& out,
                     Scratch& scratch);

}  // namespace ortho::cpu
