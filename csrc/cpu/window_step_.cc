// One step of power iteration on the window S of the last gradients, in one pass over S:
//
//   x = S g                     s dot products of p numbers: all that costs
//   b = K c, b_slot = x . c     S v for v = S^T c, once row `slot` is g
//   S_slot <- g, K_slot <- x    K = S S^T
//   u = K b, q = b . u          ||S^T b||^2
//   eigenvalue = sqrt(sqrt(q) / filled), c <- b / sqrt(q), cosine = |u_slot| / sqrt(q K_slot,slot)
//
// Layout: S (s, p) float32 or bfloat16, K (s, s) and c (s) float64. Bound by memory: every block of
// g meets all rows while it is in the first-level cache, and then takes its place in the window.
// Threads take chunks of columns, whose sums are added in one order: the chunks do not depend on
// who runs them.
#include "cpu/window_step_.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/scratch.h"
#include "cpu/thread_pool.h"

namespace ortho::cpu {
namespace {

constexpr int64_t kBlock = 8192;      // columns at a time: what the first-level cache holds of g
constexpr int64_t kMostChunks = 512;  // bounds the room that their sums take

int64_t ChunkColumns(int64_t numbers) {
  const int64_t blocks = (numbers + kBlock - 1) / kBlock;
  return std::max<int64_t>(1, (blocks + kMostChunks - 1) / kMostChunks) * kBlock;
}

int64_t Chunks(int64_t numbers) {
  const int64_t columns = ChunkColumns(numbers);
  return (numbers + columns - 1) / columns;
}

// Everything that outlives a chunk.
struct Room {
  double* sums;     // of every chunk: its part of x, and of g.g
  double* largest;  // of every chunk
  double *x, *b, *u;

  Room(const Window& window, Scratch& scratch)
      : sums(scratch.Take<double>(Chunks(window.numbers) * (window.capacity + 1))),
        largest(scratch.Take<double>(Chunks(window.numbers))),
        x(scratch.Take<double>(window.capacity + 1)),
        b(scratch.Take<double>(window.capacity)),
        u(scratch.Take<double>(window.capacity)) {}
};

// A block of g: as numbers, and as the window stores them.
class Block {
 public:
  Block(const KernelTable& table, Dtype dtype) : table_(table), dtype_(dtype) {}

  void Load(const ElementList& gradient, int64_t begin, int64_t n) {
    n_ = n;
    gradient.Load(table_, begin, n, numbers_);
  }
  void StoreTo(void* to) const { Store(numbers_, to); }
  const void* Stored() { return Scaled(1.0F); }
  // Times a power of two.
  const void* Scaled(float scale) {
    const float* from = numbers_;
    if (scale != 1.0F) table_.f32.combine(n_, scale, from, 0.0F, nullptr, scaled_), from = scaled_;
    if (dtype_ == Dtype::kFloat32) return from;
    Store(from, stored_);
    return stored_;
  }

 private:
  void Store(const float* from, void* to) const {
    table_.f32.store[static_cast<int>(dtype_)](1, n_, from, n_, to, n_);
  }

  const KernelTable& table_;
  const Dtype dtype_;
  int64_t n_ = 0;
  alignas(64) float numbers_[kBlock];
  alignas(64) float scaled_[kBlock];
  alignas(64) uint16_t stored_[kBlock];
};

struct Step {
  const KernelTable& table;
  const Window& window;
  const ElementList& gradient;
  const int64_t slot, filled;
  const Room& room;

  // body(chunk, block of g, its first column, its length): chunks on any threads, the blocks of one
  // in order.
  template <typename Body>
  void ForBlocks(double work, const Body& body) const {
    const int64_t columns = ChunkColumns(window.numbers);
    SplitLoop(Chunks(window.numbers), work, [&](int64_t chunk) {
      Block block(table, window.dtype);
      const int64_t end = std::min(window.numbers, (chunk + 1) * columns);
      for (int64_t at = chunk * columns; at < end; at += kBlock) {
        const int64_t n = std::min(kBlock, end - at);
        block.Load(gradient, at, n);
        body(chunk, block, at, n);
      }
    });
  }

  // max |g| as the window will hold it; infinity if any of it is NaN or Inf.
  double Largest() const {
    const auto max_abs = table.max_abs[static_cast<int>(window.dtype)];
    const int64_t chunks = Chunks(window.numbers);
    std::fill_n(room.largest, chunks, 0.0);
    ForBlocks(static_cast<double>(window.numbers),
              [&](int64_t chunk, Block& block, int64_t, int64_t n) {
                room.largest[chunk] = std::max(room.largest[chunk], max_abs(n, block.Stored()));
              });
    return chunks > 0 ? *std::max_element(room.largest, room.largest + chunks) : 0.0;
  }

  // x = S g, still with the row that leaves, and g.g behind it; then that row is g.
  void MeetWindow(float scale) const {
    const int64_t chunks = Chunks(window.numbers), length = filled + 1;
    const int64_t item = ItemSize(window.dtype);
    const auto dots = table.dot_rows[window.dtype == Dtype::kFloat32 ? 0 : 1];
    std::fill_n(room.sums, chunks * length, 0.0);
    const double work = static_cast<double>(window.numbers) * static_cast<double>(filled);
    ForBlocks(work, [&](int64_t chunk, Block& block, int64_t at, int64_t n) {
      double* sums = room.sums + chunk * length;
      char* columns = window.rows + at * item;
      const void* g = block.Scaled(scale);
      dots(filled, n, columns, window.stride, g, sums);
      dots(1, n, g, n, g, sums + filled);
      block.StoreTo(columns + slot * window.stride * item);
    });
    const double back = 1.0 / static_cast<double>(scale);
    for (int64_t i = 0; i < length; ++i) {
      double sum = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += room.sums[chunk * length + i];
      room.x[i] = sum * (i < filled ? back : back * back);
    }
  }

  // y = K x
  void GramTimes(const double* x, double* y) const {
    const double work = static_cast<double>(filled) * static_cast<double>(filled);
    SplitLoop(filled, work, [&](int64_t i) {
      y[i] = table.f64.dot(filled, window.gram + i * window.capacity, x);
    });
  }

  WindowEstimate MovePower() const {
    double *c = window.coefficients, *x = room.x, *b = room.b, *u = room.u;
    GramTimes(c, b);
    b[slot] = 0;  // a row that was never filled holds anything, and its coefficient is 0
    for (int64_t i = 0; i < filled; ++i)
      if (c[i] != 0) b[slot] += x[i] * c[i];
    const double squared = x[slot] = x[filled];
    for (int64_t i = 0; i < filled; ++i)
      window.gram[slot * window.capacity + i] = window.gram[i * window.capacity + slot] = x[i];
    GramTimes(b, u);
    double q = table.f64.dot(filled, b, u);
    if (!(q > 0) && squared > 0) {  // nothing is left of v: start again from g / ||g||
      for (int64_t i = 0; i < filled; ++i) b[i] = x[i] / std::sqrt(squared);
      GramTimes(b, u);
      q = table.f64.dot(filled, b, u);
    }
    if (!(q > 0)) {
      std::fill_n(c, filled, 0.0);
      return {0.0, 0.0};
    }
    const double length = std::sqrt(q);
    for (int64_t i = 0; i < filled; ++i) c[i] = b[i] / length;
    const double cosine = squared > 0 ? std::abs(u[slot]) / (length * std::sqrt(squared)) : 0.0;
    return {std::sqrt(length / static_cast<double>(filled)), cosine};
  }
};

// Brings max |g| near 1, where products of bfloat16 numbers stay within float32; those of float32
// are taken in float64, which holds all of them.
float ScaleFor(Dtype dtype, double largest) {
  if (dtype == Dtype::kFloat32 || largest == 0) return 1.0F;
  return std::ldexp(1.0F, std::clamp(-std::ilogb(largest), -126, 126));
}

}  // namespace

size_t WindowStepWorkspace(const Window& window) {
  Scratch measure;
  const Room room(window, measure);
  return measure.peak() + Scratch::kAlignment;
}

WindowEstimate WindowStep(const KernelTable& table, const Window& window,
                          const ElementList& gradient, int64_t slot, int64_t filled,
                          void* workspace) {
  const size_t skip = -reinterpret_cast<uintptr_t>(workspace) % Scratch::kAlignment;
  Scratch scratch(static_cast<char*>(workspace) + skip, WindowStepWorkspace(window) - skip);
  const Room room(window, scratch);
  const InnerThreads all(NumThreads());
  const Step step{table, window, gradient, slot, filled, room};
  const double largest = step.Largest();
  if (!std::isfinite(largest)) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {nan, nan};
  }
  step.MeetWindow(ScaleFor(window.dtype, largest));
  return step.MovePower();
}

}  // namespace ortho::cpu
