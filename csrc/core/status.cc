#include "core/status.h"

#include <cstdarg>
#include <cstdio>

namespace ortho {
namespace {

// A fixed buffer: an error about memory must not need any.
thread_local char last_error[512] = "";

}  // namespace

ortho_status Fail(ortho_status code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_error, sizeof(last_error), format, arguments);
  va_end(arguments);
  return code;
}

}  // namespace ortho

extern "C" const char* ortho_last_error(void) { return ortho::last_error; }
