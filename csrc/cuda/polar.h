// The polar factor of many matrices of mixed shapes and dtypes on one GPU.
#pragma once

#include <vector>

#include "cuda/polar_problem.h"
#include "ortho/ortho.h"

namespace ortho::cuda {

// The largest small side that the polynomials' kernel takes on `device`, by its shared memory.
ortho_status PolynomialLimit(const char* op, int device, int* side);

// Polynomials. The problems are not empty and within the limit, the options have passed their
// checks, and there are at most kMaxSteps steps. Enqueues on `stream` (a cudaStream_t) one launch
// for each size class that occurs, and another for every PolarTable::kCapacity matrices more of it;
// neither allocates device memory nor waits.
ortho_status PolynomialPolar(const char* op, const ortho_polar_options& options, int device,
                             std::vector<PolarProblem> problems, void* stream);

// Whether a matrix lies in memory in between, where `out` is float32 or else in an iterate of its
// own.
bool PolynomialIterates(const ortho_polar_options& options);

}  // namespace ortho::cuda
