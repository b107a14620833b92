// Which row of the kernel table runs on this machine.
#pragma once

#include "cpu/kernel_table.h"

namespace ortho::cpu {

// The best row that the machine has, or the one that ORTHO_ISA names; decided once. Null, with the
// reason in `reason`, if ORTHO_ISA names one that is unknown or that this machine cannot run.
const KernelTable* ActiveKernels(const char** reason);

// Every row that can run here, best first; for tests. Ends with null.
const KernelTable* const* RunnableKernels();

}  // namespace ortho::cpu
