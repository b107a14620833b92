// The elementwise half of an optimiser step, in numbers.
#pragma once

namespace ortho::cpu {

// g <- scale g, and with coupled decay g <- g + decay w; then, where there is a buffer v,
//     v <- carried v + coming g       d <- v, or with Nesterov g + momentum v
// or on average
//     v <- v + coming (g - v)         d <- v, or with Nesterov g + momentum (v - g)
// and d <- g where there is none. Then d is the result, or
//     w <- w - lr d, with decoupled decay w <- kept w - lr d.
//
// The operations are torch.optim's own, in its order and rounded where it rounds them: in float64
// for float64 and in float32 otherwise, so that half types are rounded once, as they are stored.
// A sum takes a product exactly where the machine fuses the two. (1 - decay lr) is `kept`.
struct StepRule {
  bool average = false, nesterov = false, coupled = false, decoupled = false;
  double carried = 0, coming = 1, momentum = 0, decay = 0, kept = 1, lr = 0;
};

// n elements of each, contiguous, of one type. v: null for none. direction: where d goes, and w
// then stays as it is (and is not read unless decay is coupled); null for an update of w.
struct StepArrays {
  const void* g;
  void* v;
  void* w;
  void* direction;
};

}  // namespace ortho::cpu
