/* The thread pool. A batch is cut into groups of whole sequences. With enough groups, each worker
 * runs the next group through the whole model by itself; with fewer, all workers compute each group
 * together.
 *
 * A process has one pool, built at the first batch (a forked child builds its own). It computes one
 * batch at a time, and workers sleep between batches.
 */
#define _GNU_SOURCE
#include "native.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#define MOST_THREADS 256
#define SPINS 2000 /* about 20 us, which is less than it takes to wake a thread */

#if defined(__x86_64__)
#define pause() __builtin_ia32_pause()
#else
#define pause() ((void)0)
#endif

typedef struct {
    const Model *model;
    const Batch *batch;
    const Group *groups;
    int64_t n_groups;
    atomic_long next;
    Team team; /* its size is above 1 if all workers compute each group together */
} Job;

static struct {
    pthread_mutex_t turn; /* held for a whole batch */
    pthread_mutex_t lock; /* guards the fields below */
    pthread_cond_t wake, done;
    int started, threads; /* workers that exist; threads of this job, the caller's included */
    Job *job; /* NULL when it is done */
    atomic_uint generation; /* counts jobs: a change wakes the workers */
    atomic_int inside; /* workers that are using the job */
    unsigned seen[MOST_THREADS]; /* the generation at which each worker started */
    char *memory[MOST_THREADS];
    int64_t size[MOST_THREADS];
} pool = {.turn = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

/* The next of n units, or -1 when all n are done: a barrier and a counter in one. `taken` has the
 * phase in its upper half, so that a late member can't take a unit of the next phase. */
int64_t next_together(Member *me, int64_t n)
{
    Team *team = me->team;
    if (n == 0)
        return -1;
    /* Asking again means that the last unit is done. Whoever finishes the phase opens the next
     * one. */
    if (me->unit >= 0 && atomic_fetch_add(&team->done, 1) + 1 == n) {
        atomic_store(&team->done, 0);
        atomic_store(&team->taken, (me->phase + 1) << 32);
    }
    me->unit = -1;
    long long taken = atomic_load(&team->taken);
    while (taken >> 32 == me->phase && (taken & UINT32_MAX) < n)
        if (atomic_compare_exchange_weak(&team->taken, &taken, taken + 1))
            return me->unit = taken & UINT32_MAX;
    /* No unit is left: wait until the others have finished theirs. */
    for (int i = 0; atomic_load(&team->taken) >> 32 == me->phase; i++)
        i < SPINS ? pause() : (void)sched_yield(); /* the last worker may need this core */
    me->phase++;
    return -1;
}

/* One worker's part of a job. */
static void work(Job *job, int rank)
{
    if (job->team.size > 1) {
        Member me = {&job->team, rank, 0, -1};
        for (int64_t i = 0; i < job->n_groups; i++)
            forward(job->model, job->batch, job->groups + i, pool.memory[0], &me);
        return;
    }
    Team one = {.size = 1};
    Member alone = {&one, 0, 0, 0};
    for (int64_t i; (i = atomic_fetch_add(&job->next, 1)) < job->n_groups;)
        forward(job->model, job->batch, job->groups + i, pool.memory[rank], &alone);
}

static void *worker(void *argument)
{
    const int rank = (int)(intptr_t)argument;
    unsigned seen = pool.seen[rank];
    for (;;) {
        /* The next batch often comes at once, and then a short spin saves a sleep and a wake. */
        for (int i = 0; i < SPINS && atomic_load(&pool.generation) == seen; i++)
            pause();
        pthread_mutex_lock(&pool.lock);
        while (atomic_load(&pool.generation) == seen)
            pthread_cond_wait(&pool.wake, &pool.lock);
        seen = atomic_load(&pool.generation);
        Job *job = rank < pool.threads ? pool.job : NULL;
        if (job)
            atomic_fetch_add(&pool.inside, 1);
        pthread_mutex_unlock(&pool.lock);
        if (!job) /* it has fewer threads, or the others have finished it already */
            continue;
        work(job, rank);
        pthread_mutex_lock(&pool.lock);
        if (atomic_fetch_sub(&pool.inside, 1) == 1)
            pthread_cond_signal(&pool.done);
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

/* A forked child has no workers, and its locks may be held by threads that don't exist in it. */
static void restart_in_child(void)
{
    pthread_mutex_init(&pool.turn, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.started = 0;
    atomic_store(&pool.generation, 0);
    atomic_store(&pool.inside, 0);
    pool.job = NULL;
}

__attribute__((constructor)) static void at_load(void)
{
    pthread_atfork(NULL, NULL, restart_in_child);
}

/* Starts workers until there are `threads` threads with the caller's, or as many as the system
 * allows; returns how many of them can be used. */
static int start(int threads)
{
    sigset_t every, before; /* workers block signals, which Python handles in its own threads */
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    pthread_t thread;
    while (pool.started + 1 < threads) {
        const int rank = pool.started + 1;
        pool.seen[rank] = atomic_load(&pool.generation);
        if (pthread_create(&thread, NULL, worker, (void *)(intptr_t)rank))
            break;
        pthread_detach(thread);
        pool.started = rank;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pool.started + 1 < threads ? pool.started + 1 : threads;
}

/* Memory for one worker, kept between batches and enlarged when needed; -1 if there isn't
 * enough. */
static int reserve(int worker, int64_t size)
{
    if (pool.size[worker] >= size)
        return 0;
    free(pool.memory[worker]);
    size = (size + 4095) / 4096 * 4096;
    pool.memory[worker] = aligned_alloc(64, (size_t)size);
    pool.size[worker] = pool.memory[worker] ? size : 0;
    return pool.memory[worker] ? 0 : -1;
}

/* Runs a job on all threads, the caller's included, and returns when no worker uses it any more. */
static void go(Job *job, int threads)
{
    if (threads == 1) {
        work(job, 0);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    pool.job = job, pool.threads = threads;
    atomic_fetch_add(&pool.generation, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    work(job, 0);
    pthread_mutex_lock(&pool.lock);
    pool.job = NULL;
    pthread_mutex_unlock(&pool.lock);
    /* Workers are nearly done by now: spin first, then sleep. */
    for (int i = 0; i < SPINS && atomic_load(&pool.inside); i++)
        pause();
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(&pool.inside))
        pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

/* Cuts a batch into groups of at most group_tokens tokens and reads, or of one sequence; returns
 * the number of groups. Sequences come longest first, so a group's first one is its longest. */
static int64_t cut(const Batch *batch, int64_t group_tokens, Group *groups)
{
    int64_t n_groups = 0;
    for (int64_t i = 0; i < batch->n_sequences; i++) {
        const int64_t s = batch->order[i];
        const int64_t tokens = batch->cu_seqlens[s + 1] - batch->cu_seqlens[s];
        const int64_t reads = batch->cu_reads[s + 1] - batch->cu_reads[s];
        Group *last = groups + n_groups - 1;
        if (!n_groups || last->T + tokens > group_tokens || last->R + reads > group_tokens) {
            last = groups + n_groups++;
            *last = (Group){.sequences = batch->order + i, .n = tokens};
        }
        last->S += 1, last->T += tokens, last->R += reads;
    }
    return n_groups;
}

/* Whether a team is faster than workers that take whole groups and then wait for the slowest one.
 * For the latter, each group is given to the least loaded worker; a team loses about a fifth of its
 * time to waiting between phases. */
static int better_together(const Group *groups, int64_t n_groups, int threads)
{
    int64_t loads[MOST_THREADS] = {0}, most = 0, total = 0;
    for (int64_t i = 0; i < n_groups; i++) {
        int least = 0;
        for (int j = 1; j < threads; j++)
            least = loads[j] < loads[least] ? j : least;
        loads[least] += groups[i].T;
        total += groups[i].T;
        most = loads[least] > most ? loads[least] : most;
    }
    return threads > 1 && most * threads > total * 5 / 4;
}

/* Computes the logits of a batch. Returns 0, or -1 if there isn't enough memory. */
int run(const Model *m, const Batch *batch, int threads, int64_t group_tokens)
{
    Group *groups = malloc((size_t)batch->n_sequences * sizeof *groups);
    if (!groups)
        return -1;
    const int64_t n_groups = cut(batch, group_tokens, groups);
    pthread_mutex_lock(&pool.turn);
    threads = start(threads < MOST_THREADS ? threads : MOST_THREADS);
    const int together = better_together(groups, n_groups, threads);
    int64_t room = 0;
    for (int64_t i = 0; i < n_groups; i++) {
        const int64_t size = forward_room(m, groups + i, together ? threads : 1);
        room = size > room ? size : room;
    }
    int failed = 0;
    for (int i = 0; i < (together ? 1 : threads); i++)
        failed |= reserve(i, room);
    if (!failed) {
        Job job = {m, batch, groups, n_groups, 0, {.size = together ? threads : 1}};
        go(&job, threads);
    }
    pthread_mutex_unlock(&pool.turn);
    free(groups);
    return failed;
}
