/* SPDX-License-Identifier: Apache-2.0
 * The pool: workers wait a little while in a loop, since steps follow each other closely, and then in the kernel. */
#define _GNU_SOURCE
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* Looks at the job number before sleeping, for about a tenth of a millisecond: being woken takes longer than most steps,
 * and makes the others sleep. x86's pause takes about 140 cycles, yield next to none. */
#if defined(__x86_64__)
enum { SPINS = 2000 };
#else
enum { SPINS = 20000 };
#endif

typedef struct worker {
  eq_pool *pool;
  uint32_t part;
  pthread_t thread;
} worker;

struct eq_pool {
  eq_threads threads; /* first, so that a pointer to it is one to the pool */
  worker workers[EQ_MAX_PARTS - 1];
  pthread_mutex_t lock;
  pthread_cond_t begin;
  pthread_cond_t end;
  atomic_uint job;     /* the number of the current job; workers wait for it to change */
  atomic_uint running; /* workers that have not finished it */
  bool stopping;
  void (*work)(const void *context, uint32_t part);
  const void *context;
  uint32_t parts;
};

static void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Wait until the job's number is no longer `seen`; returns the new one. */
static unsigned await_job(eq_pool *pool, unsigned seen) {
  for (int i = 0; i < SPINS; i++) {
    const unsigned job = atomic_load_explicit(&pool->job, memory_order_acquire);
    if (job != seen) return job;
    pause_briefly();
  }
  pthread_mutex_lock(&pool->lock);
  unsigned job;
  while ((job = atomic_load_explicit(&pool->job, memory_order_acquire)) == seen) {
    pthread_cond_wait(&pool->begin, &pool->lock);
  }
  pthread_mutex_unlock(&pool->lock);
  return job;
}

static void *serve(void *argument) {
  const worker *w = argument;
  eq_pool *pool = w->pool;
  for (unsigned seen = 0;;) {
    seen = await_job(pool, seen);
    if (pool->stopping) return NULL;
    if (w->part < pool->parts) pool->work(pool->context, w->part);
    if (atomic_fetch_sub_explicit(&pool->running, 1, memory_order_acq_rel) == 1) {
      pthread_mutex_lock(&pool->lock);
      pthread_cond_signal(&pool->end);
      pthread_mutex_unlock(&pool->lock);
    }
  }
}

/* Let every worker see a new job. */
static void publish(eq_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  atomic_fetch_add_explicit(&pool->job, 1, memory_order_release);
  pthread_cond_broadcast(&pool->begin);
  pthread_mutex_unlock(&pool->lock);
}

static void run(const eq_threads *threads, void (*work)(const void *context, uint32_t part), const void *context,
                uint32_t parts) {
  eq_pool *pool = (eq_pool *)(uintptr_t)threads; /* made by eq_pool_start, and not constant */
  pool->work = work;
  pool->context = context;
  pool->parts = parts;
  atomic_store_explicit(&pool->running, threads->count - 1, memory_order_relaxed);
  publish(pool);
  work(context, 0);
  for (int i = 0; i < SPINS; i++) {
    if (atomic_load_explicit(&pool->running, memory_order_acquire) == 0) return;
    pause_briefly();
  }
  pthread_mutex_lock(&pool->lock);
  while (atomic_load_explicit(&pool->running, memory_order_acquire) != 0) {
    pthread_cond_wait(&pool->end, &pool->lock);
  }
  pthread_mutex_unlock(&pool->lock);
}

eq_pool *eq_pool_start(uint32_t count) {
  if (count < 1 || count > EQ_MAX_PARTS) return NULL;
  eq_pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
  pool->threads = (eq_threads){.count = 1, .run = run};
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->begin, NULL);
  pthread_cond_init(&pool->end, NULL);
  for (uint32_t i = 1; i < count; i++) {
    worker *w = &pool->workers[i - 1];
    *w = (worker){.pool = pool, .part = i};
    if (pthread_create(&w->thread, NULL, serve, w) != 0) {
      eq_pool_stop(pool);
      return NULL;
    }
    pool->threads.count++;
  }
  return pool;
}

const eq_threads *eq_pool_threads(const eq_pool *pool) { return &pool->threads; }

uint64_t eq_pool_cpu_ns(const eq_pool *pool, uint32_t i) {
  clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
  if (i > 0 && (i >= pool->threads.count || pthread_getcpuclockid(pool->workers[i - 1].thread, &clock) != 0)) return 0;
  struct timespec used;
  clock_gettime(clock, &used);
  return (uint64_t)used.tv_sec * UINT64_C(1000000000) + (uint64_t)used.tv_nsec;
}

void eq_pool_stop(eq_pool *pool) {
  if (pool == NULL) return;
  pool->stopping = true;
  publish(pool);
  for (uint32_t i = 1; i < pool->threads.count; i++) pthread_join(pool->workers[i - 1].thread, NULL);
  pthread_cond_destroy(&pool->end);
  pthread_cond_destroy(&pool->begin);
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}
