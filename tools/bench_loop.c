/* SPDX-License-Identifier: Apache-2.0
 * Call an inference many times in a loop of C, so that two runtimes are timed without a scripting language in between.
 * Built and loaded by tools/bench_peers.py; returns the seconds of CPU time that the whole process used, or -1 when a
 * call failed. */
#define _POSIX_C_SOURCE 199309L
#include <stddef.h>
#include <string.h>
#include <time.h>

typedef void edgeq_run(const void *runner);
typedef int litert_run(void *model, size_t signature, size_t inputs, void **in, size_t outputs, void **out);

double loop_edgeq(edgeq_run *run, const void *runner, void *place, const void *input, size_t bytes, int repeats);
double loop_litert(litert_run *run, void *model, size_t inputs, void **in, size_t outputs, void **out, int repeats);

static double cpu_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The input goes in anew each time: its place in the arena may hold another tensor at the end of a run. */
double loop_edgeq(edgeq_run *run, const void *runner, void *place, const void *input, size_t bytes, int repeats) {
  const double start = cpu_seconds();
  for (int i = 0; i < repeats; i++) {
    memcpy(place, input, bytes);
    run(runner);
  }
  return cpu_seconds() - start;
}

double loop_litert(litert_run *run, void *model, size_t inputs, void **in, size_t outputs, void **out, int repeats) {
  const double start = cpu_seconds();
  for (int i = 0; i < repeats; i++) {
    if (run(model, 0, inputs, in, outputs, out) != 0) return -1;
  }
  return cpu_seconds() - start;
}
