// How every error leaves the library: a status for the machine, one sentence for the person.
#pragma once

#include "ortho/ortho.h"

namespace ortho {

// Writes the sentence that ortho_last_error() returns on this thread, and passes `code` through, so
// that a check reads `return Fail(ORTHO_VALUE_ERROR, "%s: ...", op)`.
ortho_status Fail(ortho_status code, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace ortho
