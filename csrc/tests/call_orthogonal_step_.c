/* orthogonal_step_ from C: two steps with momentum, a workspace that is too small, an overlap.
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

static int near(const char* what, const float* got, const double* wanted) {
  for (int i = 0; i < 4; ++i) {
    if (!(fabs(got[i] - wanted[i]) < 1e-5)) { /* the contract of `exact`; false for NaN */
      fprintf(stderr, "%s: element %d is %g, not %g\n", what, i, got[i], wanted[i]);
      return 0;
    }
  }
  return 1;
}

static ortho_tensor tensor(float* data, const int64_t* shape) {
  ortho_tensor x;
  memset(&x, 0, sizeof(x));
  x.data = data;
  x.shape = shape;
  x.ndim = 2;
  x.dtype.code = ORTHO_DTYPE_FLOAT;
  x.dtype.bits = 32;
  x.dtype.lanes = 1;
  x.device_type = ORTHO_DEVICE_CPU;
  return x;
}

int main(void) {
  const double c = 0.6, s = 0.8; /* R = [c -s; s c], S = [5 2; 2 3] */
  const double factor[4] = {c, -s, s, c};
  float g_data[4] = {(float)(5 * c - 2 * s), (float)(2 * c - 3 * s), (float)(5 * s + 2 * c),
                     (float)(2 * s + 3 * c)};
  float w_data[4] = {1, 2, 3, 4}, v_data[4] = {NAN, NAN, NAN, NAN};
  const int64_t shape[2] = {2, 2};
  const ortho_tensor g = tensor(g_data, shape), w = tensor(w_data, shape),
                     v = tensor(v_data, shape);
  const double scale = 2;
  const uint8_t fresh = 1;
  double expected[4], buffer[4];
  ortho_step_options options = ORTHO_STEP_OPTIONS_DEFAULT;
  options.lr = 0.5;
  options.momentum = 0.5;

  size_t bytes = 0;
  if (ortho_orthogonal_step_workspace(&options, &g, NULL, 1, &bytes))
    return fail("ortho_orthogonal_step_workspace");
  if (ortho_orthogonal_step_(&options, &w, &g, &v, NULL, &scale, &fresh, 1, NULL, 0, NULL) !=
          ORTHO_SMALL_WORKSPACE ||
      w_data[0] != 1)
    return fail("no workspace was not refused");
  void* workspace = malloc(bytes);

  /* v = 2 R, w -= 0.5 v; then v = 0.5 v + 2 R = 3 R, w -= 0.5 v. */
  if (ortho_orthogonal_step_(&options, &w, &g, &v, NULL, &scale, &fresh, 1, workspace, bytes, NULL))
    return fail("the first step");
  if (ortho_orthogonal_step_(&options, &w, &g, &v, NULL, &scale, NULL, 1, workspace, bytes, NULL))
    return fail("the second step");
  for (int i = 0; i < 4; ++i) {
    buffer[i] = 3 * factor[i];
    expected[i] = (i + 1) - 2.5 * factor[i];
  }
  if (!near("momentum", v_data, buffer) || !near("weight", w_data, expected)) return 1;

  /* A refusal comes back as a status and a sentence, and nothing is written. */
  if (ortho_orthogonal_step_(&options, &w, &g, &w, NULL, &scale, NULL, 1, workspace, bytes, NULL) !=
          ORTHO_VALUE_ERROR ||
      strcmp(ortho_last_error(), "orthogonal_step_: momenta[0] must not overlap weights[0]") != 0)
    return fail("an overlap was not refused in words");
  free(workspace);
  return near("weight after a refusal", w_data, expected) ? 0 : 1;
}
