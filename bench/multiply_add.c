// Multiply-adds in registers and nothing else: what bench/peak.py times, compiled for this machine.
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif

// Twelve sums at once hide the latency of an addition; they differ, or a compiler would keep one.
// Returns how many operations were done; a sum of the sums goes to `out`, so that they are.
#define DEFINE(name, type)                                                                     \
  double name(long rounds, type* out) {                                                        \
    typedef type vector __attribute__((vector_size(BYTES)));                                   \
    vector sum[12] = {{0}}, factor = {0};                                                      \
    factor += *out;                                                                            \
    for (int j = 0; j < 12; ++j) sum[j] += *out * (type)j;                                     \
    for (long i = 0; i < rounds; ++i)                                                          \
      _Pragma("GCC unroll 12") for (int j = 0; j < 12; ++j) sum[j] = sum[j] * factor + factor; \
    for (int j = 1; j < 12; ++j) sum[0] += sum[j];                                             \
    *out = sum[0][0];                                                                          \
    return 2.0 * 12 * (BYTES / sizeof(type)) * (double)rounds;                                 \
  }

DEFINE(multiply_add_float64, double)
DEFINE(multiply_add_float32, float)
