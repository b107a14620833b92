#include "ortho/ortho.h"

ortho_polar_options HeaderCompilesAsCxx17();

ortho_polar_options HeaderCompilesAsCxx17() { return ORTHO_POLAR_OPTIONS_DEFAULT; }
