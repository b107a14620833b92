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

// The largest matrices first, each on one thread; what a matrix becomes depends on nothing but
// itself. On as many threads as the workspace has room for; false if it has none for one.
bool PolarAll(const KernelTable& table, const ortho_polar_options& options,
              const std::vector<PolarPair>& pairs, void* workspace, size_t workspace_bytes);

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

// target = scale * source, of the same size, whatever their layouts and dtypes (stored.cc).
void CopyRows(const KernelTable& table, const StoredMatrix& source, double scale,
              const StoredMatrix& target);

}  // namespace ortho::cpu
