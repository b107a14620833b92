// All memory that a kernel may touch, byte by byte in view: bounds, alignment, reads of what nobody
// has written, and data races.
//
// Accesses arrive from the compiler's own instrumentation (hooks.cc). Each is held against the last
// write and the last reads of the same place. Two accesses of one place, one of them a write, must
// be ordered: by one thread's program, by a barrier, by __syncwarp, or by lying in different
// launches. Shuffles, ballots and matrix products order nothing, as on a GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ortho::emulation {

struct Thread;

// The first two need a value to be there; a copy leaves none until it arrives.
enum class Access { kRead, kAtomic, kWrite, kCopy };

// Who touched a place, when, and from where in the code.
struct Stamp {
  const void* caller = nullptr;
  uint32_t launch = 0, block = 0, clock = 0;
  uint16_t thread = 0, warp = 0;
  bool atomic = false;
};

// The finest unit a kernel stores is a half.
constexpr size_t kGranule = 2;

struct Granule {
  Stamp write, reads[2];  // two unordered reads, of different warps where there are such
  enum State : uint8_t { kPoison, kInFlight, kValue } state = kPoison;
};

// Bytes under watch, with a red zone on either side.
class Region {
 public:
  Region(std::string name, size_t bytes);                         // its own, poisoned
  Region(std::string name, const void* constants, size_t bytes);  // somebody's, not to be written
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  ~Region();

  void Poison();  // as fresh memory: 0xFF, which is NaN in every floating type
  void SetValues(size_t offset, size_t bytes);  // as if the host had written there
  bool Written(size_t offset) const { return granules[offset / kGranule].state == Granule::kValue; }

  const std::string name;
  const size_t bytes;
  char* data = nullptr;
  std::vector<Granule> granules;  // none: constants

 private:
  std::vector<char> storage_;
};

// The current thread's access, made from the return address `caller`; a Violation if it may not.
void Touch(const void* address, size_t bytes, Access access, const void* caller,
           size_t alignment = 1);

// Where in a grid the accesses that follow are made.
void SetPlace(uint32_t launch, uint32_t block);

// What a test gives a kernel as device memory.
template <typename T>
class DeviceBuffer {
 public:
  DeviceBuffer(std::string name, size_t count) : region_(std::move(name), count * sizeof(T)) {}
  DeviceBuffer(std::string name, const std::vector<T>& values)
      : DeviceBuffer(std::move(name), values.size()) {
    for (size_t i = 0; i < values.size(); ++i) data()[i] = values[i];
    SetValue(0, region_.bytes);
  }

  T* data() const { return reinterpret_cast<T*>(region_.data); }
  size_t size() const { return region_.bytes / sizeof(T); }
  T& operator[](size_t i) const { return data()[i]; }
  void SetValue(size_t offset, size_t bytes) { region_.SetValues(offset, bytes); }
  bool Written(size_t i) const { return region_.Written(i * sizeof(T)); }

 private:
  Region region_;
};

}  // namespace ortho::emulation
