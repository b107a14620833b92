#include "emulation/memory.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>

#include "emulation/thread.h"

namespace ortho::emulation {
namespace {

constexpr size_t kRedZone = 256;

std::vector<Region*> regions;
Region* last_region = nullptr;  // the next access is mostly near the last one
uint32_t current_launch = 0, current_block = 0;

const char* Verb(Access access) {
  return access == Access::kRead ? "read" : access == Access::kAtomic ? "atomic" : "write";
}

// Whether the access of `stamp` happened before what the current thread does now.
bool Before(const Stamp& stamp) {
  if (stamp.launch != current_launch) return true;  // launches of a stream follow one another
  if (stamp.block != current_block) return false;
  return stamp.clock <= current->clock[stamp.thread];
}

Region* RegionOf(const char* address) {
  const auto holds = [&](const Region* region) {
    return address >= region->data && address < region->data + region->bytes;
  };
  if (last_region != nullptr && holds(last_region)) return last_region;
  const auto found = std::find_if(regions.begin(), regions.end(), holds);
  if (found == regions.end()) return nullptr;
  return last_region = *found;
}

std::string What(Access access, size_t bytes, const void* caller) {
  return std::string(Verb(access)) + " of " + std::to_string(bytes) + " bytes at " + Text(caller);
}

// An address that no region holds: whose end is it beyond, or what else is it?
std::string Outside(const char* address) {
  for (const Region* region : regions) {
    const ptrdiff_t offset = address - region->data;
    const auto bytes = static_cast<ptrdiff_t>(region->bytes);
    if (offset >= -static_cast<ptrdiff_t>(kRedZone) &&
        offset < bytes + static_cast<ptrdiff_t>(kRedZone))
      return "out of bounds: offset " + std::to_string(offset) + " of " + region->name +
             ", which has " + std::to_string(bytes) + " bytes";
  }
  return "out of bounds: in no shared array and no device buffer";
}

[[noreturn]] void Race(Access earlier, const Stamp& stamp, Access access, size_t bytes,
                       const void* caller, const std::string& where) {
  Violate("data race on " + where + ": " + What(access, bytes, caller) + ", and " + Verb(earlier) +
          " by block " + std::to_string(stamp.block) + " thread " + std::to_string(stamp.thread) +
          " at " + Text(stamp.caller) + ", with nothing to order them");
}

// Keeps two unordered reads: enough for a later write to meet one that it is not ordered with,
// unless both of those kept are and one forgotten is not.
void RecordRead(Granule& granule, const Stamp& stamp) {
  Stamp* reads = granule.reads;
  const bool same_warp = reads[0].block == stamp.block && reads[0].warp == stamp.warp;
  if (Before(reads[0]) || same_warp) {
    reads[0] = stamp;
    if (Before(reads[1])) reads[1] = Stamp();
  } else {
    reads[1] = stamp;
  }
}

}  // namespace

void SetPlace(uint32_t launch, uint32_t block) {
  current_launch = launch;
  current_block = block;
}

Region::Region(std::string name, size_t bytes)
    : name(std::move(name)),
      bytes(bytes),
      granules((bytes + kGranule - 1) / kGranule),
      storage_(bytes + 3 * kRedZone) {
  const auto address = reinterpret_cast<uintptr_t>(storage_.data());
  data = storage_.data() + 2 * kRedZone - address % kRedZone;
  Poison();
  regions.push_back(this);
}

Region::Region(std::string name, const void* constants, size_t bytes)
    : name(std::move(name)),
      bytes(bytes),
      data(const_cast<char*>(static_cast<const char*>(constants))) {
  regions.push_back(this);
}

Region::~Region() {
  regions.erase(std::find(regions.begin(), regions.end(), this));
  if (last_region == this) last_region = nullptr;
}

void Region::Poison() {
  std::memset(data, 0xFF, bytes);
  std::fill(granules.begin(), granules.end(), Granule());
}

void Region::SetValues(size_t offset, size_t bytes) {
  Granule value;
  value.state = Granule::kValue;
  std::fill_n(granules.begin() + static_cast<ptrdiff_t>(offset / kGranule),
              (bytes + kGranule - 1) / kGranule, value);
}

void Touch(const void* pointer, size_t bytes, Access access, const void* caller, size_t alignment) {
  const char* address = static_cast<const char*>(pointer);
  if (current == nullptr || (address >= current->stack && address < current->stack_end)) return;
  if (reinterpret_cast<uintptr_t>(address) % alignment != 0)
    Violate("misaligned " + What(access, bytes, caller));

  Region* region = RegionOf(address);
  if (region == nullptr) {
    Dl_info module;  // constants that the compiler put into the program
    if (access == Access::kRead && dladdr(address, &module) != 0) return;
    Violate(What(access, bytes, caller) + " " + Outside(address));
  }
  const auto offset = static_cast<size_t>(address - region->data);
  if (offset + bytes > region->bytes)
    Violate(What(access, bytes, caller) + " " + Outside(region->data + region->bytes));
  if (region->granules.empty()) {
    if (access == Access::kRead) return;
    Violate(What(access, bytes, caller) + " to " + region->name + ", which are constant");
  }

  const Stamp stamp{caller,
                    current_launch,
                    current_block,
                    current->clock[current->id],
                    current->id,
                    current->warp,
                    access == Access::kAtomic};
  for (size_t i = offset / kGranule; i <= (offset + bytes - 1) / kGranule; ++i) {
    Granule& granule = region->granules[i];
    const auto where = [&] {
      return "offset " + std::to_string(i * kGranule) + " of " + region->name;
    };
    if (!(granule.write.atomic && stamp.atomic) && !Before(granule.write))
      Race(granule.write.atomic ? Access::kAtomic : Access::kWrite, granule.write, access, bytes,
           caller, where());
    if (access <= Access::kAtomic && granule.state != Granule::kValue)
      Violate(What(access, bytes, caller) +
              (granule.state == Granule::kInFlight
                   ? " before the asynchronous copy to it was waited for: "
                   : " before anything was written there: ") +
              where());
    if (access == Access::kRead) {
      RecordRead(granule, stamp);
      continue;
    }
    for (const Stamp& read : granule.reads)
      if (!Before(read)) Race(Access::kRead, read, access, bytes, caller, where());
    granule.write = stamp;
    granule.reads[0] = granule.reads[1] = Stamp();
    granule.state = access == Access::kCopy ? Granule::kInFlight : Granule::kValue;
  }
}

}  // namespace ortho::emulation
