// The thread pool. A batch is cut into groups of whole sequences. With enough groups, each worker
// runs the next group through the whole model by itself; with fewer, all workers compute each group
// together.
//
// A process has one pool, whose workers start with the first batch for several threads (a forked
// child starts its own) and sleep between batches. It computes one such batch at a time.
#include "pool.h"
#include <algorithm>
#include <new>
#include <vector>
#if defined(__wasm__) && !defined(__EMSCRIPTEN_PTHREADS__)
#define WITHOUT_THREADS // a page of WebAssembly has one thread, unless it is built for more
#endif
#ifndef WITHOUT_THREADS
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif
#endif

namespace onelayer {

namespace {

// The most tokens that a worker computes at once. With more, each weight read from memory is used more
// often; with fewer, activations stay in the worker's cache.
constexpr int64_t most_tokens = 256;

// Memory for activations, kept between batches and enlarged when needed.
class KeptMemory {
  public:
    KeptMemory() = default;
    KeptMemory(const KeptMemory &) = delete;
    KeptMemory &operator=(const KeptMemory &) = delete;
    ~KeptMemory() { release(); }

    char *at_least(int64_t bytes)
    {
        if (bytes > size_) {
            release();
            start_ = static_cast<char *>(
                ::operator new(static_cast<size_t>(bytes), std::align_val_t(64)));
            size_ = bytes;
        }
        return start_;
    }

  private:
    void release()
    {
        ::operator delete(start_, std::align_val_t(64));
        start_ = nullptr, size_ = 0;
    }

    char *start_ = nullptr;
    int64_t size_ = 0;
};

// What a call needs besides its arguments, kept for later calls.
struct Plan {
    std::vector<Group> groups;
    KeptMemory memory;
};

// Cuts a batch into groups of at most `group_tokens` tokens and reads, or of one sequence.
// Sequences come longest first, so a group's first one is its longest.
void cut_into_groups(const Batch &batch, int64_t group_tokens, std::vector<Group> &groups)
{
    groups.clear();
    for (int64_t i = 0; i < batch.n_sequences; i++) {
        const int64_t s = batch.order[i];
        const int64_t tokens = batch.cu_seqlens[s + 1] - batch.cu_seqlens[s];
        const int64_t reads = batch.cu_reads[s + 1] - batch.cu_reads[s];
        if (groups.empty() || groups.back().T + tokens > group_tokens ||
            groups.back().R + reads > group_tokens)
            groups.push_back({batch.order + i, 0, 0, 0, tokens});
        Group &last = groups.back();
        last.S += 1, last.T += tokens, last.R += reads;
    }
}

int64_t room_of(const InstructionSet &set, const Model &model, const std::vector<Group> &groups,
                int members)
{
    int64_t room = 0;
    for (const Group &group : groups)
        room = std::max(room, set.forward_room(&model, &group, members));
    return room;
}

// Computes all groups in this thread.
void run_alone(const InstructionSet &set, const Model &model, const Batch &batch, Plan *plan)
{
    char *const memory = plan->memory.at_least(room_of(set, model, plan->groups, 1));
    Member alone = {nullptr, 1, 0, 0, 0};
    for (const Group &group : plan->groups)
        set.forward(&model, &batch, &group, memory, &alone);
}

} // namespace

#ifdef WITHOUT_THREADS
int64_t next_together(Member *, int64_t) { return -1; } // no team has a second member

void run_batch(const InstructionSet &set, const Model &model, const Batch &batch, int)
{
    static Plan plan;
    cut_into_groups(batch, most_tokens, plan.groups);
    run_alone(set, model, batch, &plan);
}
#else

// What the members of a team share.
struct Team {
    std::atomic<int64_t> taken{0}; // phase << 32 | the number of its units that are taken
    std::atomic<int64_t> done{0};  // the number of the phase's units that are done
};

namespace {

constexpr int most_threads = 256;
constexpr int spins = 2000; // about 20 us, which is less than it takes to wake a thread
constexpr int64_t fewest_tokens = 64; // of a group, so that each weight that is read is worth it
// Groups of a worker in a large batch: with more of them, workers finish closer together.
constexpr int64_t groups_each = 8;

inline void pause()
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

struct Job {
    const InstructionSet *set;
    const Model *model;
    const Batch *batch;
    const Group *groups;
    int64_t n_groups;
    int team_size; // above 1 if all workers compute each group together
    std::atomic<int64_t> next{0};
    Team team;
};

struct Pool {
    std::mutex turn; // held for a whole batch
    std::mutex lock; // guards the fields below
    std::condition_variable wake, done;
    int started = 0, threads = 0; // workers that exist; threads of this job, the caller's included
    Job *job = nullptr;           // null when it is done
    std::atomic<unsigned> generation{0}; // counts jobs: a change wakes the workers
    std::atomic<int> inside{0};          // workers that are using the job
    unsigned seen[most_threads] = {};    // the generation at which each worker started
    KeptMemory memory[most_threads];
    std::mutex plans_lock;
    std::vector<Plan *> plans; // those that no call uses
};

Pool *pool = nullptr; // never freed: workers may wait in it when the process ends

// Runs code when no other thread uses a plan, and gives it back.
class BorrowedPlan {
  public:
    BorrowedPlan()
    {
        std::lock_guard<std::mutex> guard(pool->plans_lock);
        if (pool->plans.empty()) {
            plan_ = new Plan;
        } else {
            plan_ = pool->plans.back();
            pool->plans.pop_back();
        }
    }

    ~BorrowedPlan()
    {
        std::lock_guard<std::mutex> guard(pool->plans_lock);
        try {
            pool->plans.push_back(plan_);
        } catch (const std::bad_alloc &) {
            delete plan_;
        }
    }

    BorrowedPlan(const BorrowedPlan &) = delete;
    BorrowedPlan &operator=(const BorrowedPlan &) = delete;
    Plan *get() { return plan_; }
    Plan *operator->() { return plan_; }

  private:
    Plan *plan_;
};

// One worker's part of a job.
void work(Job *job, int rank)
{
    if (job->team_size > 1) {
        Member me = {&job->team, job->team_size, rank, 0, -1};
        char *const memory = pool->memory[0].at_least(0);
        for (int64_t i = 0; i < job->n_groups; i++)
            job->set->forward(job->model, job->batch, job->groups + i, memory, &me);
        return;
    }
    Member alone = {nullptr, 1, 0, 0, 0};
    for (int64_t i; (i = job->next.fetch_add(1)) < job->n_groups;)
        job->set->forward(job->model, job->batch, job->groups + i,
                          pool->memory[rank].at_least(0), &alone);
}

void run_worker(int rank)
{
    unsigned seen = pool->seen[rank];
    for (;;) {
        // The next batch often comes at once, and then a short spin saves a sleep and a wake.
        for (int i = 0; i < spins && pool->generation.load() == seen; i++)
            pause();
        std::unique_lock<std::mutex> held(pool->lock);
        pool->wake.wait(held, [&] { return pool->generation.load() != seen; });
        seen = pool->generation.load();
        Job *const job = rank < pool->threads ? pool->job : nullptr;
        if (!job) // it has fewer threads, or the others have finished it already
            continue;
        pool->inside.fetch_add(1);
        held.unlock();
        work(job, rank);
        held.lock();
        if (pool->inside.fetch_sub(1) == 1)
            pool->done.notify_one();
    }
}

// Starts workers until there are `threads` threads with the caller's, or as many as the system
// allows; returns how many of them can be used.
int start_workers(int threads)
{
    if (pool->started + 1 >= threads)
        return threads;
#if !defined(_WIN32)
    sigset_t every, before; // workers block signals, which the program handles in its own threads
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
#endif
    try {
        while (pool->started + 1 < threads) {
            const int rank = pool->started + 1;
            pool->seen[rank] = pool->generation.load();
            std::thread(run_worker, rank).detach();
            pool->started = rank;
        }
    } catch (const std::system_error &) {
        // The system has no more threads: those that started do the work.
    }
#if !defined(_WIN32)
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
    return std::min(pool->started + 1, threads);
}

// Runs a job on all threads, the caller's included, and returns when no worker uses it any more.
void run_together(Job *job, int threads)
{
    {
        std::lock_guard<std::mutex> guard(pool->lock);
        pool->job = job, pool->threads = threads;
        pool->generation.fetch_add(1);
        pool->wake.notify_all();
    }
    work(job, 0);
    {
        std::lock_guard<std::mutex> guard(pool->lock);
        pool->job = nullptr;
    }
    // Workers are nearly done by now: spin first, then sleep.
    for (int i = 0; i < spins && pool->inside.load(); i++)
        pause();
    std::unique_lock<std::mutex> held(pool->lock);
    pool->done.wait(held, [] { return !pool->inside.load(); });
}

// Whether a team is faster than workers that take whole groups and then wait for the slowest one.
// For the latter, each group is given to the least loaded worker; a team loses about a fifth of its
// time to waiting between phases.
bool better_together(const std::vector<Group> &groups, int threads)
{
    int64_t loads[most_threads] = {0}, most = 0, total = 0;
    for (const Group &group : groups) {
        int64_t &least = *std::min_element(loads, loads + threads);
        least += group.T;
        total += group.T;
        most = std::max(most, least);
    }
    return threads > 1 && most * threads > total * 5 / 4;
}

// A forked child has no workers, and its locks may be held by threads that don't exist in it. What
// the other threads used of the parent's memory is lost.
#if !defined(_WIN32)
void restart_in_child() { pool = new Pool; }
#endif

void make_pool()
{
    static std::once_flag made;
    std::call_once(made, [] {
        pool = new Pool;
#if !defined(_WIN32)
        pthread_atfork(nullptr, nullptr, restart_in_child);
#endif
    });
}

} // namespace

// A barrier and a counter in one. `taken` has the phase in its upper half, so that a late member
// can't take a unit of the next phase.
int64_t next_together(Member *me, int64_t n)
{
    Team *team = me->team;
    if (n == 0)
        return -1;
    // Asking again means that the last unit is done. Whoever finishes the phase opens the next one.
    if (me->unit >= 0 && team->done.fetch_add(1) + 1 == n) {
        team->done.store(0);
        team->taken.store((me->phase + 1) << 32);
    }
    me->unit = -1;
    int64_t taken = team->taken.load();
    while (taken >> 32 == me->phase && (taken & UINT32_MAX) < n)
        if (team->taken.compare_exchange_weak(taken, taken + 1))
            return me->unit = taken & UINT32_MAX;
    // No unit is left: wait until the others have finished theirs.
    for (int i = 0; team->taken.load() >> 32 == me->phase; i++)
        i < spins ? pause() : std::this_thread::yield(); // the last worker may need this core
    me->phase++;
    return -1;
}

void run_batch(const InstructionSet &set, const Model &model, const Batch &batch, int threads)
{
    make_pool();
    threads = std::max(1, std::min(threads, most_threads));
    const int64_t tokens = batch.cu_seqlens[batch.n_sequences];
    const int64_t share = tokens / (groups_each * threads);
    BorrowedPlan plan;
    cut_into_groups(batch, std::min(most_tokens, std::max(fewest_tokens, share)), plan->groups);
    if (threads == 1) {
        run_alone(set, model, batch, plan.get());
        return;
    }
    std::lock_guard<std::mutex> turn(pool->turn);
    threads = start_workers(threads);
    const bool together = better_together(plan->groups, threads);
    const int64_t room = room_of(set, model, plan->groups, together ? threads : 1);
    for (int i = 0; i < (together ? 1 : threads); i++)
        pool->memory[i].at_least(room);
    Job job;
    job.set = &set, job.model = &model, job.batch = &batch;
    job.groups = plan->groups.data();
    job.n_groups = static_cast<int64_t>(plan->groups.size());
    job.team_size = together ? threads : 1;
    run_together(&job, threads);
}

#endif
} // namespace onelayer
