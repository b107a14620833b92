#include "ortho/ortho.h"

ortho_polar_options header_compiles_as_c99(void);

ortho_polar_options header_compiles_as_c99(void) {
  ortho_polar_options options = ORTHO_POLAR_OPTIONS_DEFAULT;
  return options;
}
