// The elementwise half of an optimiser step, on chunks of a few hundred numbers that the first
// cache holds. The operations are torch.optim's own in its order; half types are float32 in here.
#pragma once

#include <cstdint>

#include "cpu/kernel_table.h"
#include "ortho/ortho.h"

namespace ortho::cpu {

// `buffer` may be `v` and `moved` may be `w`: memory itself, where it holds T in a row.
template <typename T>
struct StepChunk {
  static constexpr int64_t kSize = 256;
  const T *g, *w, *v;  // read
  T *buffer, *moved;   // written: the new v and w
  T room[5][kSize];    // for those five, where memory holds them otherwise
  T decayed[kSize], way[kSize], direction[kSize];
};

template <typename T>
class StepRule {
 public:
  StepRule(const KernelTable& table, const ortho_step_options& options)
      : combine_(KernelsFor<T>(table).combine),
        average_(options.average),
        nesterov_(options.nesterov),
        coupled_(!options.decoupled && options.weight_decay != 0),
        decoupled_(options.decoupled && options.weight_decay != 0),
        lr_(static_cast<T>(options.lr)),
        momentum_(static_cast<T>(options.momentum)),
        coming_(static_cast<T>(1 - (average_ ? options.momentum : options.dampening))),
        decay_(static_cast<T>(options.weight_decay)),
        kept_(static_cast<T>(1 - options.lr * options.weight_decay)) {}

  bool coupled() const { return coupled_; }

  // The direction d that g becomes; chunk.w is read for coupled decay only. With `buffered`,
  // chunk.buffer is what v becomes; chunk.v is not read where it is fresh.
  const T* Direct(int64_t n, bool buffered, bool fresh, StepChunk<T>& chunk) const {
    const T* g = chunk.g;
    if (coupled_) {
      combine_(n, decay_, chunk.w, T(1), g, chunk.decayed);
      g = chunk.decayed;
    }
    if (!buffered) return g;
    if (fresh)
      combine_(n, average_ ? coming_ : T(1), g, T(0), nullptr, chunk.buffer);
    else if (average_)
      Lerp(n, chunk.v, g, coming_, chunk.way, chunk.buffer);
    else
      combine_(n, coming_, g, momentum_, chunk.v, chunk.buffer);
    if (!nesterov_) return chunk.buffer;
    if (average_)
      Lerp(n, g, chunk.buffer, momentum_, chunk.way, chunk.direction);
    else
      combine_(n, momentum_, chunk.buffer, T(1), g, chunk.direction);
    return chunk.direction;
  }

  // chunk.moved is what chunk.w becomes on d.
  void Move(int64_t n, const T* d, StepChunk<T>& chunk) const {
    const T* w = chunk.w;
    if (decoupled_) {
      combine_(n, kept_, w, T(0), nullptr, chunk.decayed);
      w = chunk.decayed;
    }
    combine_(n, -lr_, d, T(1), w, chunk.moved);
  }

 private:
  // torch.lerp's two forms: each is exact at its own end.
  void Lerp(int64_t n, const T* from, const T* to, T weight, T* way, T* out) const {
    combine_(n, T(1), to, T(-1), from, way);
    if (weight < T(0.5))
      combine_(n, weight, way, T(1), from, out);
    else
      combine_(n, weight - 1, way, T(1), to, out);
  }

  void (*const combine_)(int64_t n, T alpha, const T* a, T beta, const T* b, T* c);
  const bool average_, nesterov_, coupled_, decoupled_;
  const T lr_, momentum_, coming_, decay_, kept_;
};

}  // namespace ortho::cpu
