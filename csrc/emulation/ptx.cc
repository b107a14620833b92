#include "emulation/ptx.h"

#include <cuda_fp16.h>

#include <cmath>
#include <cstring>

#include "emulation/fragments.h"
#include "emulation/memory.h"

namespace ortho::cuda::ptx {
namespace {

using namespace emulation;

constexpr uint32_t kWholeWarp = ~0u;

uint16_t HalfOf(const uint32_t* registers, int v) {
  return static_cast<uint16_t>(registers[v / 2] >> v % 2 * 16);
}

// A lane's share of an 8 x 8 matrix: two halves of a register.
template <typename At>
uint32_t Register8x8(int lane, At at) {
  uint32_t x = 0;
  for (int v = 0; v < 2; ++v) {
    const Element e = Matrix8x8(lane, v);
    x |= uint32_t{at(e.row, e.column)} << v * 16;
  }
  return x;
}

float Float16(uint16_t bits) {
  __half_raw raw;
  raw.x = bits;
  return __half2float(__half(raw));
}

float TowardsZero(double x) {
  const float nearest = static_cast<float>(x);
  return std::abs(nearest) > std::abs(x) ? std::nextafter(nearest, 0.0f) : nearest;
}

struct Operands {
  uint32_t a[4], b[2];
  float* d;
};

void MultiplyHalves(const Lanes& lanes) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& in = *static_cast<const Operands*>(lanes.in[lane]);
    for (int v = 0; v < 8; ++v)
      a[A16x16(lane, v).row][A16x16(lane, v).column] = Float16(HalfOf(in.a, v));
    for (int v = 0; v < 4; ++v)
      b[B16x8(lane, v).row][B16x8(lane, v).column] = Float16(HalfOf(in.b, v));
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* d = static_cast<const Operands*>(lanes.in[lane])->d;
    for (int v = 0; v < 4; ++v) {
      const Element e = D16x8(lane, v);
      double sum = d[v];
      for (int k = 0; k < 16; ++k) sum += double{a[e.row][k]} * b[k][e.column];
      d[v] = TowardsZero(sum);
    }
  }
}

template <bool kTransposed>
void LoadFour(uint32_t (&x)[4], const void* row, const char* what, Site site) {
  Touch(row, 16, Access::kRead, __builtin_return_address(0), 16);
  Collective(what, kWholeWarp, site, row, x, [](const Lanes& lanes) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      const void* const* rows = lanes.in + matrix * 8;
      for (int lane = 0; lane < 32; ++lane)
        static_cast<uint32_t*>(lanes.out[lane])[matrix] = Register8x8(lane, [&](int r, int c) {
          return static_cast<const uint16_t*>(rows[kTransposed ? c : r])[kTransposed ? r : c];
        });
    }
  });
}

}  // namespace

void CopyAsync16(void* shared, const void* global, int bytes) {
  const void* caller = __builtin_return_address(0);
  if (reinterpret_cast<uintptr_t>(global) % 16 != 0)
    Violate("misaligned asynchronous copy at " + Text(caller));
  if (bytes > 0) Touch(global, static_cast<size_t>(bytes), Access::kRead, caller);
  Touch(shared, 16, Access::kCopy, caller, 16);
  std::memset(shared, 0xFF, 16);
  current->uncommitted.push_back({shared, global, static_cast<size_t>(bytes), caller});
}

void CommitCopies() {
  current->committed.push_back(std::move(current->uncommitted));
  current->uncommitted.clear();
}

void AwaitAllBut(int newest) {
  for (; current->committed.size() > static_cast<size_t>(newest); current->committed.pop_front())
    for (const AsyncCopy& copy : current->committed.front()) {
      Touch(copy.to, 16, Access::kWrite, copy.caller);
      std::memset(copy.to, 0, 16);
      std::memcpy(copy.to, copy.from, copy.bytes);
    }
}

void MultiplyF16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Site site) {
  const Operands in{{a[0], a[1], a[2], a[3]}, {b0, b1}, d};
  Collective("MultiplyF16", kWholeWarp, site, &in, nullptr, MultiplyHalves);
}

void MultiplyF64(double (&d)[2], double a, double b, Site site) {
  const double in[2] = {a, b};
  Collective("MultiplyF64", kWholeWarp, site, in, d, [](const Lanes& lanes) {
    double a[8][4], b[4][8];
    for (int lane = 0; lane < 32; ++lane) {
      const double* in = static_cast<const double*>(lanes.in[lane]);
      a[A8x4(lane).row][A8x4(lane).column] = in[0];
      b[B4x8(lane).row][B4x8(lane).column] = in[1];
    }
    for (int lane = 0; lane < 32; ++lane)
      for (int v = 0; v < 2; ++v) {
        const Element e = D8x8(lane, v);
        double& d = static_cast<double*>(lanes.out[lane])[v];
        for (int k = 0; k < 4; ++k) d = std::fma(a[e.row][k], b[k][e.column], d);
      }
  });
}

uint32_t Transpose(uint32_t x, Site site) {
  uint32_t transposed;
  Collective("Transpose", kWholeWarp, site, &x, &transposed, [](const Lanes& lanes) {
    uint16_t whole[8][8];
    for (int lane = 0; lane < 32; ++lane)
      for (int v = 0; v < 2; ++v)
        whole[Matrix8x8(lane, v).row][Matrix8x8(lane, v).column] =
            HalfOf(static_cast<const uint32_t*>(lanes.in[lane]), v);
    for (int lane = 0; lane < 32; ++lane)
      *static_cast<uint32_t*>(lanes.out[lane]) =
          Register8x8(lane, [&](int r, int c) { return whole[c][r]; });
  });
  return transposed;
}

void LoadMatrices(uint32_t (&x)[4], const void* row, Site site) {
  LoadFour<false>(x, row, "LoadMatrices", site);
}
void LoadMatricesTransposed(uint32_t (&x)[4], const void* row, Site site) {
  LoadFour<true>(x, row, "LoadMatricesTransposed", site);
}

}  // namespace ortho::cuda::ptx
