// Op polar on a GPU, above the kernels: which of its matrices they take, and the workspace.
#pragma once

#include "core/polar_call.h"

namespace ortho {

// The call has passed its checks; all of its tensors are on one GPU.
ortho_status CudaPolarWorkspace(const PolarCall& call, size_t* bytes);
ortho_status CudaPolar(const PolarCall& call, const ortho_tensor* outputs, void* workspace,
                       size_t workspace_bytes, void* stream);

}  // namespace ortho
