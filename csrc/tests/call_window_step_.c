/* window_step_ from C: two gradients of two tensors each, a workspace that is too small, a gradient
 * that is not finite, a refusal.
 *
 * With g1 = (3, 0, 4) and g2 = (4, 0, 3): v = g1 / 5, then w = S^T S v with S v = (5, 4.8). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ortho/ortho.h"

static int fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, ortho_last_error());
  return 1;
}

static int near(const char* what, const double* got, double eigenvalue, double cosine) {
  if (fabs(got[0] - eigenvalue) < 1e-14 && fabs(got[1] - cosine) < 1e-14) return 1;
  fprintf(stderr, "%s: %.17g and %.17g, not %.17g and %.17g\n", what, got[0], got[1], eigenvalue,
          cosine);
  return 0;
}

static ortho_tensor tensor(void* data, uint8_t bits, int32_t ndim, const int64_t* shape) {
  ortho_tensor x;
  memset(&x, 0, sizeof(x));
  x.data = data;
  x.shape = shape;
  x.ndim = ndim;
  x.dtype.code = ORTHO_DTYPE_FLOAT;
  x.dtype.bits = bits;
  x.dtype.lanes = 1;
  x.device_type = ORTHO_DEVICE_CPU;
  return x;
}

int main(void) {
  const int64_t rows_shape[2] = {2, 3}, gram_shape[2] = {2, 2}, two[1] = {2}, one[1] = {1};
  float rows[6] = {NAN, NAN, NAN, NAN, NAN, NAN}; /* unread until it is filled */
  float first[2] = {3, 0};
  double second[1] = {4}, gram[4] = {0}, c[2] = {0}, out[2];
  ortho_window window;
  window.rows = tensor(rows, 32, 2, rows_shape);
  window.gram = tensor(gram, 64, 2, gram_shape);
  window.coefficients = tensor(c, 64, 1, two);
  ortho_tensor g[2], result = tensor(out, 64, 1, two);
  g[0] = tensor(first, 32, 1, two);
  g[1] = tensor(second, 64, 1, one);

  size_t bytes = 0;
  if (ortho_window_step_workspace(&window, &bytes)) return fail("ortho_window_step_workspace");
  if (ortho_window_step_(&window, g, 2, 0, 1, 1.0, &result, NULL, 0, NULL) !=
          ORTHO_SMALL_WORKSPACE ||
      gram[0] != 0)
    return fail("no workspace was not refused");
  void* workspace = malloc(bytes);

  if (ortho_window_step_(&window, g, 2, 0, 1, 1.0, &result, workspace, bytes, NULL))
    return fail("the first step");
  if (!near("the first step", out, 5.0, 1.0)) return 1;
  first[0] = 4;
  second[0] = 3;
  if (ortho_window_step_(&window, g, 2, 1, 2, 0.5, &result, workspace, bytes, NULL))
    return fail("the second step");
  /* w = 5 g1 + 4.8 g2 = (34.2, 0, 34.4) */
  const double length = sqrt(34.2 * 34.2 + 34.4 * 34.4);
  const double cosine = (4 * 34.2 + 3 * 34.4) / (5 * length);
  if (!near("the second step", out, 2 * sqrt(length / 2), cosine)) return 1;

  second[0] = INFINITY;
  if (ortho_window_step_(&window, g, 2, 0, 2, 1.0, &result, workspace, bytes, NULL))
    return fail("a gradient that is not finite");
  if (!isnan(out[0]) || !isnan(out[1]) || rows[0] != 3) return fail("it was not left out");

  if (ortho_window_step_(&window, g, 1, 0, 2, 1.0, &result, workspace, bytes, NULL) !=
          ORTHO_VALUE_ERROR ||
      strcmp(ortho_last_error(),
             "window_step_: gradients must have 3 elements in all like a row of window, got 2") !=
          0)
    return fail("a short list was not refused in words");
  free(workspace);
  return 0;
}
