/* A C program that uses the library as ortho.h's first lines say.
 *
 * The polar factor of R S, R a rotation and S symmetric positive definite, is R. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ortho/ortho.h"

static int fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, ortho_last_error());
  return 1;
}

int main(void) {
  const double c = 0.6, s = 0.8; /* R = [c -s; s c], S = [5 2; 2 3] */
  float x_data[4] = {(float)(5 * c - 2 * s), (float)(2 * c - 3 * s), (float)(5 * s + 2 * c),
                     (float)(2 * s + 3 * c)};
  const double expected[4] = {c, -s, s, c};
  float out_data[4] = {0, 0, 0, 0};
  const int64_t shape[2] = {2, 2};
  const ortho_dtype float32 = {ORTHO_DTYPE_FLOAT, 32, 1};

  ortho_tensor x;
  memset(&x, 0, sizeof(x));
  x.data = x_data;
  x.shape = shape;
  x.ndim = 2;
  x.dtype = float32;
  x.device_type = ORTHO_DEVICE_CPU;
  ortho_tensor out = x;
  out.data = out_data;

  if (ortho_abi_version() != ORTHO_ABI_VERSION) return fail("ortho_abi_version");

  ortho_polar_options options = ORTHO_POLAR_OPTIONS_DEFAULT;
  size_t bytes = 0;
  if (ortho_polar_workspace(&options, &x, NULL, 1, &bytes)) return fail("ortho_polar_workspace");
  void* workspace = malloc(bytes ? bytes : 1);
  if (ortho_polar(&options, &x, &out, NULL, 1, workspace, bytes, NULL)) return fail("ortho_polar");
  free(workspace);
  for (int i = 0; i < 4; ++i) {
    if (!(fabs(out_data[i] - expected[i]) < 1e-5)) { /* the contract of `exact`; false for NaN */
      fprintf(stderr, "ortho_polar: element %d is %g, not %g\n", i, out_data[i], expected[i]);
      return 1;
    }
  }

  /* A refusal comes back as a status and a sentence. */
  x.ndim = 1;
  if (ortho_polar_workspace(&options, &x, NULL, 1, &bytes) != ORTHO_VALUE_ERROR ||
      strstr(ortho_last_error(), "must have at least 2 dimensions") == NULL)
    return fail("a vector was not refused in words");

  /* So does a GPU's tensor where there are no kernels for it, with how to get them. */
  x.ndim = 2;
  x.device_type = ORTHO_DEVICE_CUDA;
  if (ortho_cuda_archs()[0] == '\0' &&
      (ortho_polar_workspace(&options, &x, NULL, 1, &bytes) != ORTHO_RUNTIME_ERROR ||
       strcmp(ortho_last_error(),
              "polar: x is on cuda:0, but this build has no CUDA kernels: install from source with "
              "nvcc on PATH and ORTHO_CUDA=1") != 0))
    return fail("a GPU's tensor was not refused in words");
  return 0;
}
