// A line of source from a return address, by way of binutils where they are installed.
#include <dlfcn.h>

#include <cstdio>

#include "emulation/thread.h"

namespace ortho::emulation {

std::string Text(const void* caller) {
  const char* address = static_cast<const char*>(caller);
  Dl_info module;
  char text[512];
  if (dladdr(address, &module) == 0) return "an unknown place";
  const auto offset = static_cast<size_t>(address - static_cast<const char*>(module.dli_fbase)) - 1;
  std::snprintf(text, sizeof(text), "addr2line -s -e '%s' 0x%zx 2>/dev/null", module.dli_fname,
                offset);
  if (FILE* pipe = popen(text, "r")) {
    const bool read = std::fgets(text, sizeof(text), pipe) != nullptr;
    if (pclose(pipe) == 0 && read && text[0] != '?') {
      const std::string line = text;
      return line.substr(0, line.find_first_of(" \n"));
    }
  }
  std::snprintf(text, sizeof(text), "%s+0x%zx", module.dli_fname, offset);
  return text;
}

}  // namespace ortho::emulation
