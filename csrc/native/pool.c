/* Threads. A batch is cut into groups of whole sequences. Where there are enough of them each worker
 * takes the next group through the whole model by itself; otherwise all work on one group together.
 *
 * There is one pool for a process, built at the first batch (a forked child builds its own), and it
 * does one batch at a time. Workers sleep between batches.
 */
#define _GNU_SOURCE
#include "native.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#define MOST_THREADS 256
#define SPINS 2000 /* some 20 us: less than it takes to wake a thread */

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
    Team team; /* its size is above 1 where all work on one group together */
} Job;

static struct {
    pthread_mutex_t turn; /* held for a whole batch */
    pthread_mutex_t lock; /* guards the fields below */
    pthread_cond_t wake, done;
    int started, threads; /* workers there are, and that this job is for, the caller included */
    Job *job; /* NULL when it is done */
    atomic_uint generation; /* of jobs */
    atomic_int inside; /* workers who may look at the job */
    unsigned seen[MOST_THREADS]; /* the generation that each worker did last */
    char *memory[MOST_THREADS];
    int64_t size[MOST_THREADS];
} pool = {.turn = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

/* The next of n units, or -1 when all n are done: a barrier and a counter in one. `taken` holds
 * the phase in its upper half, so that a late member can't take a unit of the next phase. */
int64_t next_together(Member *me, int64_t n)
{
    Team *team = me->team;
    if (n == 0)
        return -1;
    if (me->unit >= 0 && atomic_fetch_add(&team->done, 1) + 1 == n) { /* the last one done */
        atomic_store(&team->done, 0);
        atomic_store(&team->taken, (me->phase + 1) << 32);
    }
    me->unit = -1;
    long long taken = atomic_load(&team->taken);
    while (taken >> 32 == me->phase && (taken & UINT32_MAX) < n)
        if (atomic_compare_exchange_weak(&team->taken, &taken, taken + 1))
            return me->unit = taken & UINT32_MAX;
    for (int i = 0; atomic_load(&team->taken) >> 32 == me->phase; i++)
        i < SPINS ? pause() : (void)sched_yield(); /* the last worker may need this core */
    me->phase++;
    return -1;
}

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
        /* The next batch often comes at once: a short spin saves a sleep and a wake. */
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
        if (!job) /* the other workers have finished it */
            continue;
        work(job, rank);
        pthread_mutex_lock(&pool.lock);
        if (atomic_fetch_sub(&pool.inside, 1) == 1)
            pthread_cond_signal(&pool.done);
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

/* A forked child has no workers, and its locks may be held by threads that it doesn't have. */
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

/* Starts workers up to rank threads - 1, as far as the system allows; returns the number of threads
 * there are, with the caller. */
static int start(int threads)
{
    sigset_t every, before; /* workers get no signals: Python handles them in its own threads */
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

/* Memory for one worker, kept between batches and grown when needed; -1 where there is none. */
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

/* Runs a job on all threads, the caller's included, and returns when no worker looks at it. */
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
    for (int i = 0; i < SPINS && atomic_load(&pool.inside); i++)
        pause();
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(&pool.inside))
        pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

/* Sequences, longest first, in groups of at most group_tokens tokens, or of one sequence; returns the
 * number of groups. */
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

/* Whether a team finishes sooner than workers that each take whole groups, and wait for the slowest.
 * A team loses about a fifth to waiting. Each group goes to the least loaded worker. */
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

/* 0, or -1 where there is not enough memory. */
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
