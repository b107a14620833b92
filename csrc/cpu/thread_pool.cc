#include "cpu/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

namespace ortho::cpu {
namespace {

// The cores this process may use, or OMP_NUM_THREADS, which people set to say the same thing.
int DefaultThreads() {
  if (const char* wanted = std::getenv("OMP_NUM_THREADS")) {
    const int threads = std::atoi(wanted);
    if (threads >= 1) return threads;
  }
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

std::atomic<int> num_threads{0};
thread_local int inner_threads = 1;

class Pool {
 public:
  // One job at a time; the caller works too.
  void Run(int64_t count, int workers, const std::function<void(int64_t, int)>& task) {
    std::lock_guard<std::mutex> turn(callers_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      while (static_cast<int>(threads_.size()) < workers - 1) {
        const int index = static_cast<int>(threads_.size()) + 1;
        threads_.emplace_back([this, index] { Work(index); });
      }
      task_ = &task;
      count_ = count;
      workers_ = workers;
      next_.store(0, std::memory_order_relaxed);
      running_ = workers - 1;
      ++job_;
    }
    wake_.notify_all();
    Drain(task, count, 0);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return running_ == 0; });
    task_ = nullptr;
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void Drain(const std::function<void(int64_t, int)>& task, int64_t count, int worker) {
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count;) task(i, worker);
  }

  void Work(int index) {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stopping_ || job_ != seen; });
      if (stopping_) return;
      seen = job_;
      if (index >= workers_ || task_ == nullptr) continue;
      const auto& task = *task_;
      const int64_t count = count_;
      lock.unlock();
      Drain(task, count, index);
      lock.lock();
      if (--running_ == 0) done_.notify_one();
    }
  }

  std::mutex callers_, mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  const std::function<void(int64_t, int)>* task_ = nullptr;
  int64_t count_ = 0;
  int workers_ = 0, running_ = 0;
  uint64_t job_ = 0;
  bool stopping_ = false;
  std::atomic<int64_t> next_{0};
};

// Threads do not survive fork: the child forgets the parent's pool (whose locks may be held by
// threads that no longer exist) and makes its own at the first call. What it forgets is a few
// kilobytes.
Pool* pool = nullptr;
std::mutex pool_mutex;

Pool& ThePool() {
  std::lock_guard<std::mutex> lock(pool_mutex);
  if (pool == nullptr) {
    pool = new Pool;
    static bool registered = false;
    if (!registered) {
      pthread_atfork([] { pool_mutex.lock(); }, [] { pool_mutex.unlock(); },
                     [] {
                       pool = nullptr;
                       pool_mutex.unlock();
                     });
      // Joined before static objects go, or threads would wait on destroyed ones.
      std::atexit([] {
        delete pool;
        pool = nullptr;
      });
      registered = true;
    }
  }
  return *pool;
}

}  // namespace

int NumThreads() {
  int threads = num_threads.load(std::memory_order_relaxed);
  if (threads == 0) {
    threads = DefaultThreads();
    num_threads.store(threads, std::memory_order_relaxed);
  }
  return threads;
}

void SetNumThreads(int threads) { num_threads.store(threads, std::memory_order_relaxed); }

InnerThreads::InnerThreads(int threads) { inner_threads = threads; }
InnerThreads::~InnerThreads() { inner_threads = 1; }
int InnerThreads::Current() { return inner_threads; }

void ParallelFor(int64_t count, int workers, const std::function<void(int64_t, int)>& task) {
  if (workers <= 1 || count <= 1) {
    for (int64_t i = 0; i < count; ++i) task(i, 0);
    return;
  }
  ThePool().Run(count, workers, task);
}

}  // namespace ortho::cpu
