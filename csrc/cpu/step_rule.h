// The elementwise half of an optimiser step, on chunks of a few hundred numbers that the first
// cache holds. The order of operations is torch.optim's own, so that float32 and float64 differ
// from it by no more than its fused multiply-adds do; half types are float32 in here.
#pragma once

#include <cstdint>

#include "ortho/ortho.h"

namespace ortho::cpu {

template <typename T>
class StepRule {
 public:
  explicit StepRule(const ortho_step_options& options)
      : average_(options.average),
        nesterov_(options.nesterov),
        coupled_(!options.decoupled && options.weight_decay != 0),
        decoupled_(options.decoupled && options.weight_decay != 0),
        lr_(static_cast<T>(options.lr)),
        momentum_(static_cast<T>(options.momentum)),
        coming_(static_cast<T>(1 - (average_ ? options.momentum : options.dampening))),
        decay_(static_cast<T>(options.weight_decay)),
        kept_(static_cast<T>(1 - options.lr * options.weight_decay)) {}

  bool coupled() const { return coupled_; }

  // g becomes the direction d, and v what it remembers; w is read for coupled decay only, v null
  // where there is no buffer.
  void Remember(int64_t n, bool fresh, const T* w, T* g, T* v) const {
    if (coupled_)
      for (int64_t i = 0; i < n; ++i) g[i] += decay_ * w[i];
    if (!v) return;
    if (fresh)
      for (int64_t i = 0; i < n; ++i) v[i] = average_ ? Lerp(T(0), g[i], coming_) : g[i];
    else if (average_)
      for (int64_t i = 0; i < n; ++i) v[i] = Lerp(v[i], g[i], coming_);
    else
      for (int64_t i = 0; i < n; ++i) v[i] = momentum_ * v[i] + coming_ * g[i];
    if (!nesterov_)
      for (int64_t i = 0; i < n; ++i) g[i] = v[i];
    else if (average_)
      for (int64_t i = 0; i < n; ++i) g[i] = Lerp(g[i], v[i], momentum_);
    else
      for (int64_t i = 0; i < n; ++i) g[i] += momentum_ * v[i];
  }

  void Update(int64_t n, const T* d, T* w) const {
    if (decoupled_)
      for (int64_t i = 0; i < n; ++i) w[i] *= kept_;
    for (int64_t i = 0; i < n; ++i) w[i] -= lr_ * d[i];
  }

 private:
  // torch.lerp's two forms: each is exact at its own end.
  static T Lerp(T from, T to, T weight) {
    const T way = to - from;
    return weight < T(0.5) ? from + weight * way : to - way * (1 - weight);
  }

  const bool average_, nesterov_, coupled_, decoupled_;
  const T lr_, momentum_, coming_, decay_, kept_;
};

}  // namespace ortho::cpu
