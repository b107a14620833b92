/* ortho.h - the C ABI of ortho-kernels, all of it on one page.
 *
 * The waist of the package: strided tensor views in, a status out. The caller owns every byte
 * (inputs, outputs, workspace) and names the stream. No framework type appears here, and nothing
 * throws.
 *
 *   ortho_polar_options options = ORTHO_POLAR_OPTIONS_DEFAULT;
 *   size_t bytes;
 *   if (ortho_polar_workspace(&options, x, NULL, count, &bytes)) puts(ortho_last_error());
 *   if (ortho_polar(&options, x, out, NULL, count, workspace, bytes, NULL))
 * puts(ortho_last_error());
 *
 * Compiles alone as C99 and as C++17.
 */
#ifndef ORTHO_ORTHO_H_
#define ORTHO_ORTHO_H_

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define ORTHO_API __declspec(dllexport)
#else
#define ORTHO_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ORTHO_VERSION_MAJOR 0
#define ORTHO_VERSION_MINOR 1
#define ORTHO_VERSION_PATCH 0
/* Raised by one whenever a struct or a signature on this page changes. */
#define ORTHO_ABI_VERSION 3

ORTHO_API int32_t ortho_abi_version(void);
ORTHO_API const char* ortho_version(void); /* "0.1.0" */

/* ---- Status -------------------------------------------------------------------------------------
 * Every function that can fail returns one of these. The words are in ortho_last_error(), which is
 * per thread and valid until that thread's next call. */
typedef int32_t ortho_status;
enum {
  ORTHO_OK = 0,
  ORTHO_VALUE_ERROR = 1,     /* a shape, a size, an option: Python's ValueError */
  ORTHO_TYPE_ERROR = 2,      /* a dtype: Python's TypeError */
  ORTHO_RUNTIME_ERROR = 3,   /* the device, the driver, memory: Python's RuntimeError */
  ORTHO_SMALL_WORKSPACE = 4, /* less than ortho_polar_workspace asks for: nothing was done */
};
ORTHO_API const char* ortho_last_error(void);

/* ---- Tensors ------------------------------------------------------------------------------------
 * Type and device codes are DLPack's numbers, so a door copies them through unchanged. */
enum {
  ORTHO_DTYPE_INT = 0,
  ORTHO_DTYPE_UINT = 1,
  ORTHO_DTYPE_FLOAT = 2,
  ORTHO_DTYPE_BFLOAT = 4,
  ORTHO_DTYPE_COMPLEX = 5,
  ORTHO_DTYPE_BOOL = 6
};
enum { ORTHO_DEVICE_CPU = 1, ORTHO_DEVICE_CUDA = 2 };

typedef struct ortho_dtype {
  uint8_t code; /* ORTHO_DTYPE_* */
  uint8_t bits;
  uint16_t lanes; /* 1 */
} ortho_dtype;

typedef struct ortho_tensor {
  void* data;           /* the first element, any byte offset already added */
  const int64_t* shape; /* ndim entries */
  /* ndim entries, in elements, zero and negative allowed; NULL: row-major */
  const int64_t* strides;
  int32_t ndim;
  ortho_dtype dtype;
  int32_t device_type; /* ORTHO_DEVICE_* */
  int32_t device_id;
  int32_t read_only; /* non-zero: refused as an output */
} ortho_tensor;

/* ---- Op: polar ----------------------------------------------------------------------------------
 * The polar factor U V^T of every matrix of `count` tensors, mixed shapes and dtypes, in one call.
 */
enum { ORTHO_POLAR_EXACT = 0, ORTHO_POLAR_POLYNOMIAL = 1, ORTHO_POLAR_NEWTON = 2 };
enum { ORTHO_RANK_TRUNCATE = 0, ORTHO_RANK_COMPLETE = 1 };
enum { ORTHO_PRECISION_FLOAT32 = 0, ORTHO_PRECISION_FLOAT16 = 1, ORTHO_PRECISION_BFLOAT16 = 2 };

typedef struct ortho_polar_options {
  int32_t method;    /* ORTHO_POLAR_* */
  int32_t rank;      /* ORTHO_RANK_*, exact only */
  int32_t precision; /* ORTHO_PRECISION_*, polynomial only */
  /* exact only: singular values <= rtol * sigma_1 are dropped; negative: 4 eps of the input type
   * (of float32 for narrower types) */
  double rtol;
  const double* coefficients; /* polynomial only: (steps, 3) row-major; step: a x + b x^3 + c x^5 */
  int64_t steps;
} ortho_polar_options;
#define ORTHO_POLAR_OPTIONS_DEFAULT \
  {ORTHO_POLAR_EXACT, ORTHO_RANK_TRUNCATE, ORTHO_PRECISION_FLOAT32, -1.0, NULL, 0}

/* How a tensor is read as matrices: row_blocks[i] (NULL: ORTHO_VIEW_BATCH for all) is
 *   ORTHO_VIEW_BATCH  the last two dimensions are the matrix, the leading ones a batch;
 *   k >= 1            flattened from dimension 1, then cut into k equal blocks of rows:
 *                     1 = "flatten", the thesis's reading of a convolution; k = attention heads. */
enum { ORTHO_VIEW_BATCH = 0 };

/* Bytes of scratch that ortho_polar needs for these arguments and the current thread count. */
ORTHO_API ortho_status ortho_polar_workspace(const ortho_polar_options* options,
                                             const ortho_tensor* inputs, const int64_t* row_blocks,
                                             int64_t count, size_t* bytes);
/* workspace_bytes must be what ortho_polar_workspace says, or more. A caller that keeps a workspace
 * may call with it at once, and ask and try again on ORTHO_SMALL_WORKSPACE.
 *
 * outputs[i] has the shape, dtype and device of inputs[i]; it may be the same memory with the same
 * strides, and may not overlap an input in any other way. stream: a cudaStream_t, NULL on a CPU.
 *
 * A matrix that holds a NaN or an Inf comes back all NaN; that is not an error. */
ORTHO_API ortho_status ortho_polar(const ortho_polar_options* options, const ortho_tensor* inputs,
                                   const ortho_tensor* outputs, const int64_t* row_blocks,
                                   int64_t count, void* workspace, size_t workspace_bytes,
                                   void* stream);

/* ---- Op: orthogonal_step_
 * ------------------------------------------------------------------------ One optimiser step on
 * the weights w, with gradients g, momentum buffers v and the polar factor O(.) of every matrix, in
 * place:
 *
 *   ORTHO_STEP_GRADIENT  g <- +-scale O(g), + weight_decay w if coupled;  v, d from g;
 *                        w <- (1 - lr weight_decay) w if decoupled;  w <- w - lr d
 *   ORTHO_STEP_UPDATE    g <- +-g, + weight_decay w if coupled;  v, d from g;
 *                        w <- (1 - lr weight_decay) w if decoupled;  w <- w - lr scale O(d)
 *
 *   v: momentum v + (1 - dampening) g, or, averaged, momentum v + (1 - momentum) g
 *   d: v, or, nesterov, g + momentum v, or, averaged, momentum v + (1 - momentum) g
 *   without buffers: d = g
 *
 * +- is minus where `maximize`. One matrix's polar factor at a time lives in each thread's part of
 * the workspace; nothing else of its size does. */
enum { ORTHO_STEP_GRADIENT = 0, ORTHO_STEP_UPDATE = 1 };

typedef struct ortho_step_options {
  ortho_polar_options polar;
  int32_t placement; /* ORTHO_STEP_* */
  int32_t average;   /* flags: zero or not */
  int32_t nesterov;
  int32_t maximize;
  int32_t decoupled;
  double lr, momentum, dampening, weight_decay;
} ortho_step_options;
#define ORTHO_STEP_OPTIONS_DEFAULT \
  {ORTHO_POLAR_OPTIONS_DEFAULT, ORTHO_STEP_GRADIENT, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0}

/* Bytes of scratch that ortho_orthogonal_step_ needs for these gradients and the current thread
 * count: what ortho_polar needs, and one matrix more per thread. */
ORTHO_API ortho_status ortho_orthogonal_step_workspace(const ortho_step_options* options,
                                                       const ortho_tensor* gradients,
                                                       const int64_t* row_blocks, int64_t count,
                                                       size_t* bytes);
/* weights[i] and momenta[i] have the shape, dtype and device of gradients[i] and any strides; no
 * tensor that is written may overlap another. momenta: NULL without buffers. row_blocks: NULL for
 * ORTHO_VIEW_BATCH. scales: NULL for 1. fresh[i] non-zero: momenta[i] holds nothing yet and is not
 * read; v starts as g, or, averaged, as (1 - momentum) g. NULL: none is.
 *
 * A gradient that holds a NaN or an Inf makes NaN of its own matrix's w, and of nobody else's. */
ORTHO_API ortho_status ortho_orthogonal_step_(
    const ortho_step_options* options, const ortho_tensor* weights, const ortho_tensor* gradients,
    const ortho_tensor* momenta, const int64_t* row_blocks, const double* scales,
    const uint8_t* fresh, int64_t count, void* workspace, size_t workspace_bytes, void* stream);

/* ---- Op: all_finite -----------------------------------------------------------------------------
 * *finite: 1 if no number of any of `count` tensors is NaN or Inf, else 0. Any shapes and strides;
 * the floating dtypes, and complex64 and complex128. On a CPU. Needs no workspace. */
ORTHO_API ortho_status ortho_all_finite(const ortho_tensor* tensors, int64_t count,
                                        int32_t* finite);

/* ---- Op: frobenius_norm -------------------------------------------------------------------------
 * sqrt(sum x^2) over the last two dimensions, scaled by the power of two of max |x| so that no
 * square under- or overflows. x: (..., m, n); out: (...) float64, contiguous. Needs no workspace.
 */
ORTHO_API ortho_status ortho_frobenius_norm(const ortho_tensor* x, const ortho_tensor* out,
                                            void* stream);

/* ---- Op: sketch ---------------------------------------------------------------------------------
 * The count-sketch of `count` tensors, taken as one vector x (each in row-major order):
 *   out[bucket(i)] += sign(i) x[i],   summed in float64, in a fixed order, and rounded once
 * with a bucket and a sign that depend on seed, i and out's length alone (docs/ops/sketch.md).
 * tensors: any number of dimensions, mixed dtypes; out: (dim) float32, 1 <= dim <= 2^24. */
ORTHO_API ortho_status ortho_sketch_workspace(const ortho_tensor* tensors, int64_t count,
                                              int64_t dim, size_t* bytes);
ORTHO_API ortho_status ortho_sketch(const ortho_tensor* tensors, int64_t count, uint64_t seed,
                                    const ortho_tensor* out, void* workspace,
                                    size_t workspace_bytes, void* stream);
/* ---- Op: window_step_ ---------------------------------------------------------------------------
 * Power iteration on the window of the last gradients (the thesis's algorithm 5), one step, in one
 * pass over the window:
 *
 *   S_slot <- g;  w = S^T S v;  eigenvalue = sqrt(||w|| / filled) / sigma;  v <- w / ||w||;
 *   cosine = |g^T v| / ||g||
 *
 * S is rounded to its own type, and v is S^T c. Where w is 0, as with c = 0 at the first step, v
 * starts again from g / ||g||; a g of 0 has cosine 0. */
typedef struct ortho_window {
  ortho_tensor rows;         /* S: (s, p), float32 or bfloat16, unit stride along p */
  ortho_tensor gram;         /* S S^T: (s, s), float64, contiguous */
  ortho_tensor coefficients; /* c: (s,), float64, contiguous; zeros before the first step */
} ortho_window;

ORTHO_API ortho_status ortho_window_step_workspace(const ortho_window* window, size_t* bytes);
/* g is `count` tensors of any shapes, strides and dtypes, p elements in all, each in row-major
 * order. 0 <= slot < filled <= s; rows from `filled` on are not looked at, but for row `slot`. All
 * three of the window are written. out: (2,), float64: eigenvalue and cosine.
 *
 * A g that is not finite in the type of S leaves the window as it is, and both of out are NaN. */
ORTHO_API ortho_status ortho_window_step_(const ortho_window* window, const ortho_tensor* gradients,
                                          int64_t count, int64_t slot, int64_t filled, double sigma,
                                          const ortho_tensor* out, void* workspace,
                                          size_t workspace_bytes, void* stream);

/* ---- Threads and build
 * --------------------------------------------------------------------------*/
ORTHO_API ortho_status ortho_set_num_threads(int32_t threads); /* >= 1 */
ORTHO_API int32_t ortho_get_num_threads(void);

/* The CPU kernels that run ("avx512_bf16", "avx512", "avx2", "baseline", "reference"), chosen at
 * the first call from the machine, or from the environment variable ORTHO_ISA; NULL with an error
 * if that names one that this machine or build does not have. */
ORTHO_API const char* ortho_isa(void);
ORTHO_API const char* ortho_cuda_archs(
    void); /* "80;90a;100a;120a;compute_80", "" if CUDA was not built */

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ORTHO_ORTHO_H_ */
