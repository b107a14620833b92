// What multiply-adds a core can do: chains of them in registers, nothing loaded, nothing stored.
#pragma once

#include <cstdint>

namespace ortho::bench {

struct Peak {
  // Each runs `rounds` of its chains and returns the operations done, two to a multiply-add; `sink`
  // gets the sums, so that they cannot be left out.
  double (*f32)(int64_t rounds, float* sink);
  double (*f64)(int64_t rounds, double* sink);
};

// peak.cc, once for each instruction set.
extern const Peak kBaselinePeak, kAvx2Peak, kAvx512Peak;

}  // namespace ortho::bench
