#include "emulation/grid.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <utility>

#include "emulation/memory.h"

namespace ortho::emulation {

Thread* current = nullptr;
Schedule schedule;
int64_t launches = 0;

// A barrier, or the lanes of one mask in one warp: where threads wait for each other, again and
// again.
struct Meeting {
  const char* what = "";
  Site site{};
  uint64_t round = 0;
  std::vector<Thread*> arrived;
  Lanes lanes{};

  void EndRound() { arrived.clear(), ++round; }
};

namespace {

constexpr size_t kStackBytes = size_t{256} << 10;

// What exists while a kernel runs.
struct Running;
Running* running = nullptr;
struct Running {
  Running() { running = this; }
  ~Running() { running = nullptr; }

  void (*body)(const void*);
  const void* parameters;
  size_t shared_bytes;
  dim3 grid_size, block_size;
  uint32_t block;  // its number in the grid
  std::vector<Thread> threads;
  std::unique_ptr<char[]> stacks;
  Meeting barrier;
  std::map<std::pair<int, uint32_t>, Meeting> collectives;  // by warp and mask
  std::map<const void*, std::unique_ptr<Region>> shared;
  std::string violation;
};

void RunThread() {
  running->body(running->parameters);
  current->done = true;
  for (;;) current->fiber.Suspend();
}

// Whatever any of them did happened before whatever any of them does next.
void OrderAccesses(const std::vector<Thread*>& members) {
  std::vector<uint32_t> latest = members.front()->clock;
  for (const Thread* member : members)
    std::transform(latest.begin(), latest.end(), member->clock.begin(), latest.begin(),
                   [](uint32_t a, uint32_t b) { return std::max(a, b); });
  for (Thread* member : members) {
    member->clock = latest;
    ++member->clock[member->id];
  }
}

// Joins the current thread to the others; true if it is the last one.
bool Arrive(Meeting& meeting, const char* what, Site site, int expected) {
  if (meeting.arrived.empty()) {
    meeting.what = what;
    meeting.site = site;
  } else if (meeting.what != what || meeting.site.line != site.line) {
    Violate("divergent " + std::string(what) + " at " + Text(site) + ", while others wait in " +
            meeting.what + " at " + Text(meeting.site));
  }
  meeting.arrived.push_back(current);
  return static_cast<int>(meeting.arrived.size()) == expected;
}

void AwaitRound(const Meeting& meeting) {
  current->waiting = &meeting;
  current->round = meeting.round;
  current->fiber.Suspend();
  current->waiting = nullptr;
}

[[noreturn]] void Deadlock() {
  std::map<std::string, int> where;
  for (const Thread& thread : running->threads)
    ++where[thread.done ? std::string("have ended")
                        : "wait in " + std::string(thread.waiting->what) + " at " +
                              Text(thread.waiting->site)];
  std::string message = "deadlock in block " + std::to_string(running->block) + ":";
  for (const auto& [place, count] : where)
    message += " " + std::to_string(count) + " threads " + place + ",";
  message.back() = '.';
  throw Violation(message);
}

uint3 Position(unsigned id, dim3 size) {
  return {id % size.x, id / size.x % size.y, id / (size.x * size.y)};
}

void StartThreads() {
  const size_t count = running->threads.size();
  for (size_t i = 0; i < count; ++i) {
    Thread& thread = running->threads[i];
    char* stack = running->stacks.get() + i * kStackBytes;
    thread = Thread();
    thread.id = static_cast<uint16_t>(i);
    thread.warp = static_cast<uint16_t>(i / 32);
    thread.lane = static_cast<uint16_t>(i % 32);
    thread.index = Position(static_cast<unsigned>(i), running->block_size);
    thread.stack = stack;
    thread.stack_end = stack + kStackBytes;
    thread.clock.assign(count, 0);
    thread.clock[i] = 1;
    thread.fiber.Start(stack, kStackBytes, RunThread);
  }
}

void RunBlock(std::mt19937& random) {
  StartThreads();
  running->barrier = Meeting();
  running->collectives.clear();
  for (auto& [tag, region] : running->shared) region->Poison();

  std::vector<Thread*> order;
  for (Thread& thread : running->threads) order.push_back(&thread);
  if (schedule.order == Order::kDescending) std::reverse(order.begin(), order.end());
  for (bool progress = true; progress;) {
    progress = false;
    if (schedule.order == Order::kRandom) std::shuffle(order.begin(), order.end(), random);
    for (Thread* thread : order) {
      const bool waits = thread->waiting != nullptr && thread->waiting->round == thread->round;
      if (thread->done || waits) continue;
      progress = true;
      current = thread;
      thread->fiber.Resume();
      current = nullptr;
      if (!running->violation.empty()) throw Violation(running->violation);
    }
  }
  if (!std::all_of(order.begin(), order.end(), [](const Thread* thread) { return thread->done; }))
    Deadlock();
}

}  // namespace

void Launch(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(const void*),
            const void* parameters, size_t parameter_bytes) {
  Running state;
  state.body = body;
  state.parameters = parameters;
  state.shared_bytes = shared_bytes;
  state.grid_size = grid;
  state.block_size = block;
  state.threads.resize(size_t{block.x} * block.y * block.z);
  state.stacks.reset(new char[state.threads.size() * kStackBytes]);
  const Region readable("the kernel's parameters", parameters, parameter_bytes);
  const auto launch = static_cast<uint32_t>(++launches);

  std::vector<uint32_t> order(size_t{grid.x} * grid.y * grid.z);
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random(schedule.seed);
  if (schedule.order == Order::kDescending) std::reverse(order.begin(), order.end());
  if (schedule.order == Order::kRandom) std::shuffle(order.begin(), order.end(), random);
  for (const uint32_t index : order) {
    state.block = index;
    SetPlace(launch, index);
    RunBlock(random);
  }
}

void* SharedArray(const void* tag, const char* name, size_t bytes) {
  std::unique_ptr<Region>& region = running->shared[tag];
  if (!region) region = std::make_unique<Region>(name, tag ? bytes : running->shared_bytes);
  return region->data;
}

uint3 ThreadIndex() { return current->index; }
uint3 BlockIndex() { return Position(running->block, running->grid_size); }
dim3 GridSize() { return running->grid_size; }
int Lane() { return current->lane; }

void Barrier(const char* what, Site site) {
  Meeting& barrier = running->barrier;
  const auto threads = static_cast<int>(running->threads.size());
  if (!Arrive(barrier, what, site, threads)) return AwaitRound(barrier);
  OrderAccesses(barrier.arrived);
  barrier.EndRound();
}

void Collective(const char* what, uint32_t mask, Site site, const void* in, void* out,
                void (*compute)(const Lanes&), bool orders) {
  const size_t lanes = std::min<size_t>(running->threads.size() - current->warp * 32u, 32);
  if (lanes < 32) mask &= (1u << lanes) - 1;
  if ((mask >> current->lane & 1) == 0)
    Violate(std::string(what) + " at " + Text(site) + " by a lane that is not in its mask");
  Meeting& meeting = running->collectives[{current->warp, mask}];
  const bool last = Arrive(meeting, what, site, __builtin_popcount(mask));
  meeting.lanes.mask = mask;
  meeting.lanes.in[current->lane] = in;
  meeting.lanes.out[current->lane] = out;
  if (!last) return AwaitRound(meeting);
  if (compute) compute(meeting.lanes);
  if (orders) OrderAccesses(meeting.arrived);
  meeting.EndRound();
}

void Shuffle(const char* what, uint32_t mask, Site site, const void* value, void* result,
             size_t bytes, int from) {
  struct Wish {
    const void* value;
    size_t bytes;
    int from;
    Site site;
  } const wish{value, bytes, from, site};
  Collective(what, mask, site, &wish, result, [](const Lanes& lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      if (!lanes.Has(lane)) continue;
      const auto& wish = *static_cast<const Wish*>(lanes.in[lane]);
      if (!lanes.Has(wish.from))
        Violate("shuffle at " + Text(wish.site) + " from lane " + std::to_string(wish.from) +
                ", which does not take part");
      std::memcpy(lanes.out[lane], static_cast<const Wish*>(lanes.in[wish.from])->value,
                  wish.bytes);
    }
  });
}

uint32_t Ballot(const char* what, uint32_t mask, Site site, bool vote) {
  uint32_t result;
  Collective(what, mask, site, &vote, &result, [](const Lanes& lanes) {
    uint32_t votes = 0;
    for (int lane = 0; lane < 32; ++lane)
      if (lanes.Has(lane) && *static_cast<const bool*>(lanes.in[lane])) votes |= 1u << lane;
    for (int lane = 0; lane < 32; ++lane)
      if (lanes.Has(lane)) *static_cast<uint32_t*>(lanes.out[lane]) = votes;
  });
  return result;
}

void Violate(const std::string& what) {
  if (current == nullptr) throw Violation(what);
  running->violation = "block " + std::to_string(running->block) + " thread " +
                       std::to_string(current->id) + ": " + what;
  for (;;) current->fiber.Suspend();
}

std::string Text(Site site) {
  const std::string path = site.file;
  return path.substr(path.rfind('/') + 1) + ":" + std::to_string(site.line);
}

}  // namespace ortho::emulation
