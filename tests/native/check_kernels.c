/* SPDX-License-Identifier: Apache-2.0
 * Check and bench every kernel of every table of this CPU against the scalar one.
 *
 * A run that checked everything ends with the line "CHECK DONE"; nothing else means success. Exit code 1 is a difference,
 * 2 a wrong command line. Case number i of a run has the seed S + i, and is repeated by --seed S+i --cases 1. */
#include "harness.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgeq/fixed_point.h"
#include "environment.h"

enum { DIFFERENT = 1, USAGE = 2, GUARD = 64, GUARD_BYTE = 0xA5, FAR = 2048 /* from the end of a region */ };
enum { COVERAGE_PERCENT = 30, COVERAGE_CASES = 100 /* fewer say nothing about coverage */ };

/* The kernels that may have twins. A check that is missing is null, and an error once a twin exists. */
#define EQ_KERNEL(name, isa) extern const kernel_check check_##name __attribute__((weak));
#include "kernels/scalar/kernels.inc"
EQ_KERNEL(packed_gemm_s8, scalar)
#undef EQ_KERNEL

static const struct {
  const char *name;
  const kernel_check *check;
  size_t member; /* in eq_kernels */
} kernels[] = {
#define EQ_KERNEL(name, isa) {#name, &check_##name, offsetof(eq_kernels, name)},
#include "kernels/scalar/kernels.inc"
    EQ_KERNEL(packed_gemm_s8, scalar)
#undef EQ_KERNEL
};
enum { KERNELS = sizeof kernels / sizeof kernels[0] };

typedef struct options {
  const char *isa;
  const char *kernel;
  const char *json;
  uint64_t seed;
  uint32_t cases;
  bool bench;
  bool count;
} options;

static const char usage[] =
    "usage: check_kernels [--seed S] [--cases N] [--isa NAME] [--kernel NAME] [--bench [--count] [--json FILE]]\n"
    "  --cases N   random cases per kernel and ISA, 100 without it; --seed S the first one's seed\n"
    "  --bench     time fixed shapes instead; --count runs each once between markers for the instruction counter\n";

static harness current;
static struct {
  const uint8_t *start;
  size_t bytes;
  const uint8_t *end; /* of its region */
} placed[HARNESS_BUFFERS];

/* Generator: splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). */

static uint64_t next(harness *h) {
  uint64_t z = h->state += UINT64_C(0x9E3779B97F4A7C15);
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

int32_t draw(harness *h, int32_t low, int32_t high) {
  const uint64_t count = (uint64_t)((int64_t)high - low) + 1; /* <= 2^32, so the bias is below 2^-32 */
  return (int32_t)(low + (int64_t)(next(h) % count));
}

bool chance(harness *h, int32_t percent) { return draw(h, 0, 99) < percent; }

int32_t draw_size(harness *h, int32_t low, int32_t high) {
  const int32_t middle = low + (high - low) / 4;
  return chance(h, 60) ? draw(h, low, middle) : draw(h, low, high);
}

void *buffer(harness *h, size_t bytes, size_t alignment) {
  const region in = environment_region(h->buffers, h->seed);
  if (h->buffers == HARNESS_BUFFERS || bytes > in.bytes - 2 * FAR) {
    fprintf(stderr, "check_kernels: %s asks for too much memory\n", h->kernel);
    exit(USAGE);
  }
  size_t at = in.bytes - bytes;
  if (h->is_bench) {
    at = (at - FAR) / GUARD * GUARD; /* aligned, and away from the end: a masked load across it traps */
  } else if (chance(h, 50)) {
    at -= FAR + (size_t)draw(h, 0, 63);
  }
  at -= at % alignment;
  uint8_t *start = in.start + at;
  memset(start - GUARD, GUARD_BYTE, GUARD);
  const size_t behind = in.bytes - at - bytes;
  memset(start + bytes, GUARD_BYTE, behind < GUARD ? behind : GUARD);
  placed[h->buffers].start = start;
  placed[h->buffers].bytes = bytes;
  placed[h->buffers++].end = in.start + in.bytes;
  return start;
}

void fill(harness *h, void *to, size_t bytes) {
  uint8_t *p = to;
  const int32_t kind = draw(h, 0, 9);
  const uint8_t one = (uint8_t)next(h);
  for (size_t i = 0; i < bytes; i += 8) {
    uint64_t r = next(h);
    for (size_t j = i; j < bytes && j < i + 8; j++, r >>= 8) {
      const uint8_t any = (uint8_t)r;
      p[j] = kind == 0 ? (uint8_t)(any & 1 ? 0x80 : 0x7F) : kind == 1 ? (uint8_t)((any & 7) - 4) : kind == 2 ? one : any;
    }
  }
}

int32_t draw_mode(harness *h) {
  const int32_t modes[] = {EQ_MODE_DOUBLE, EQ_MODE_SINGLE, EQ_MODE_EXACT, EQ_MODE_SHIFT};
  return modes[draw(h, 0, (int32_t)(sizeof modes / sizeof modes[0]) - 1)];
}

void draw_multiplier(harness *h, int32_t reach, int32_t low, int32_t high, int32_t *multiplier, int32_t *shift) {
  int32_t bits = 0;
  while (bits < 31 && reach >> bits > 127) bits++;
  int32_t s = draw(h, 0, 3) - bits;
  *multiplier = draw(h, 1 << 30, INT32_MAX);
  const int32_t kind = draw(h, 0, 19);
  if (kind == 0) s = draw(h, low, high);
  if (kind <= 1) *multiplier = draw(h, 0, INT32_MAX);
  if (kind == 2) *multiplier = 1 << draw(h, 24, 30); /* half of the products of odd numbers are ties */
  if (kind == 3) *multiplier = INT32_MAX - draw(h, 0, 1);
  *shift = s < low ? low : s > high ? high : s;
}

eq_linear_s8 draw_linear(harness *h, int32_t n, int32_t reach) {
  int32_t *bias = buffer(h, 4 * (size_t)n, 4), *multipliers = buffer(h, 4 * (size_t)n, 4);
  int8_t *shifts = buffer(h, (size_t)n, 1);
  /* a model's shifts are mostly all to the right; a few channels to the left must not change the others */
  const int32_t kind = draw(h, 0, 9);
  for (int32_t c = 0; c < n; c++) {
    int32_t shift;
    draw_multiplier(h, reach, -31, kind == 0 ? 30 : kind <= 2 ? 0 : -1, &multipliers[c], &shift);
    if (kind == 0 && chance(h, 30)) shift = draw(h, 0, 30);
    if (kind == 3) multipliers[c] = 1 << 30;
    shifts[c] = (int8_t)shift;
    bias[c] = kind == 4 ? (int32_t)next(h) : draw(h, -reach, reach);
  }
  eq_linear_s8 linear = {.bias = bias, .multipliers = multipliers, .shifts = shifts, .zero = draw(h, -128, 127),
                         .act_min = -128, .act_max = 127, .mode = draw_mode(h)};
  for (int32_t c = 0; c < n && linear.mode == EQ_MODE_SHIFT; c++) multipliers[c] = EQ_HALF;
  if (chance(h, 30)) linear.zero = -128; /* of what ReLU leaves, as a rule */
  if (chance(h, 50)) linear.act_min = linear.zero; /* ReLU */
  if (chance(h, 30)) linear.act_max = draw(h, linear.act_min, 127);
  if (chance(h, 10)) linear.act_min = draw(h, -128, linear.act_max);
  return linear;
}

void covers(harness *h, bool full, bool tail) {
  h->is_full = full;
  h->has_tail = tail;
}

__attribute__((noreturn)) static void report_failure(const harness *h) {
  printf("  repeat with --isa %s --kernel %s --seed %" PRIu64 " --cases 1\n", h->table->isa, h->kernel, h->seed);
  fflush(stdout);
  environment_end(DIFFERENT);
}

void same(harness *h, const void *found, const void *expected, size_t bytes, const char *what, ...) {
  const uint8_t *a = found, *b = expected;
  size_t i = 0;
  while (i < bytes && a[i] == b[i]) i++;
  if (i == bytes) return;
  printf("%s %s: byte %lu of %lu is %d, scalar gives %d; ", h->kernel, h->table->isa, (unsigned long)i,
         (unsigned long)bytes, (int8_t)a[i], (int8_t)b[i]); /* newlib may know no %zu */
  va_list values;
  va_start(values, what);
  vprintf(what, values);
  va_end(values);
  putchar('\n');
  report_failure(h);
}

static void check_guards(const harness *h) {
  for (int32_t i = 0; i < h->buffers; i++) {
    const uint8_t *start = placed[i].start, *end = start + placed[i].bytes;
    const uint8_t *limit = placed[i].end;
    if ((size_t)(limit - end) > GUARD) limit = end + GUARD;
    for (const uint8_t *p = start - GUARD; p < limit; p++) {
      if ((p < start || p >= end) && *p != GUARD_BYTE) {
        printf("%s %s: writes at byte %ld of buffer %" PRId32 ", which has %lu\n", h->kernel, h->table->isa,
               (long)(p - start), i, (unsigned long)placed[i].bytes);
        report_failure(h);
      }
    }
  }
}

static void on_fault(int number) {
  printf("%s %s: killed by signal or fault %d, presumably for reading outside a buffer\n", current.kernel, current.table->isa, number);
  report_failure(&current);
}

/* Bench. */

#define CALIBRATE UINT32_C(0xFFFFFFFF)
enum { BATCHES = 7, BATCH_NS = 1000000 };

static struct {
  FILE *json;
  bool count;
  uint32_t done;   /* shapes */
  uint64_t repeat; /* calls in a batch, 0 while it is being found */
  uint64_t calls;
  uint64_t start;
  int32_t batch;
  double best;
  const char *shape;
  int64_t work;
} bench;

bool bench_begin(harness *h, const char *shape, int64_t work) {
  (void)h;
  bench.shape = shape;
  bench.work = work;
  bench.repeat = 1;
  bench.calls = 0;
  bench.batch = 0;
  bench.best = 0;
  if (bench.count) {
    environment_mark(2 * bench.done);
  } else {
    bench.start = environment_now_ns();
  }
  return true;
}

static void finish_shape(const harness *h) {
  if (!bench.count) {
    printf("%-18s %-8s %-28s %12.0f ns %8.2f per ns\n", h->kernel, h->table->isa, bench.shape, bench.best,
           (double)bench.work / bench.best);
  }
  if (bench.json != NULL) {
    fprintf(bench.json, "%s\n{\"kernel\": \"%s\", \"isa\": \"%s\", \"shape\": \"%s\", \"work\": %" PRId64,
            bench.done == 0 ? "" : ",", h->kernel, h->table->isa, bench.shape, bench.work);
    if (!bench.count) fprintf(bench.json, ", \"ns\": %.1f", bench.best);
    fputc('}', bench.json);
  }
  bench.done++;
}

bool bench_again(harness *h) {
  if (bench.count) {
    environment_mark(2 * bench.done + 1);
    finish_shape(h);
    return false;
  }
  if (++bench.calls < bench.repeat) return true;
  const uint64_t ns = environment_now_ns() - bench.start;
  if (bench.batch == 0 && ns < BATCH_NS && bench.repeat < UINT32_MAX) {
    bench.repeat *= 2;
  } else {
    const double each = (double)ns / (double)bench.calls;
    if (bench.batch == 0 || each < bench.best) bench.best = each;
    if (++bench.batch == BATCHES) {
      finish_shape(h);
      return false;
    }
  }
  bench.calls = 0;
  bench.start = environment_now_ns();
  return true;
}

/* The program. */

static uint64_t parse_number(const char *option, const char *text) {
  char *end = NULL;
  const uint64_t value = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0') {
    fprintf(stderr, "check_kernels: %s takes a number, not '%s'\n", option, text);
    exit(USAGE);
  }
  return value;
}

static options parse_options(int argc, char **argv) {
  options o = {.cases = 100};
  for (int i = 1; i < argc; i++) {
    const char *name = argv[i];
    if (strcmp(name, "--bench") == 0) {
      o.bench = true;
    } else if (strcmp(name, "--count") == 0) {
      o.count = true;
    } else if (i + 1 == argc) {
      fputs(usage, stderr);
      exit(USAGE);
    } else if (strcmp(name, "--seed") == 0) {
      o.seed = parse_number(name, argv[++i]);
    } else if (strcmp(name, "--cases") == 0) {
      o.cases = (uint32_t)parse_number(name, argv[++i]);
    } else if (strcmp(name, "--isa") == 0) {
      o.isa = argv[++i];
    } else if (strcmp(name, "--kernel") == 0) {
      o.kernel = argv[++i];
    } else if (strcmp(name, "--json") == 0) {
      o.json = argv[++i];
    } else {
      fputs(usage, stderr);
      exit(USAGE);
    }
  }
  return o;
}

typedef void any_function(void);

static any_function *member(uint32_t table, uint32_t kernel) {
  any_function *found;
  memcpy(&found, (const char *)eq_kernels_at(table) + kernels[kernel].member, sizeof found);
  return found;
}

/* True when the table has a kernel that neither the scalar table has nor, unless it was asked for by name, one before it:
 * there it is checked once for all. */
static bool is_own(uint32_t table, uint32_t kernel, bool asked) {
  for (uint32_t t = 0; t < (asked && table > 0 ? 1 : table); t++) {
    if (member(t, kernel) == member(table, kernel)) return false;
  }
  return member(table, kernel) != NULL;
}

static void start_case(const eq_kernels *table, uint32_t kernel, uint64_t seed) {
  current = (harness){.table = table, .scalar = eq_kernels_at(0), .kernel = kernels[kernel].name, .state = seed, .seed = seed};
}

static void check(const eq_kernels *table, uint32_t kernel, const options *o) {
  uint32_t full = 0, tails = 0;
  for (uint32_t i = 0; i < o->cases; i++) {
    start_case(table, kernel, o->seed + i);
    kernels[kernel].check->run(&current);
    check_guards(&current);
    full += current.is_full;
    tails += current.has_tail;
  }
  printf("%-24s %-8s %6" PRIu32 " cases equal, %6" PRIu32 " of a full tile, %6" PRIu32 " with tails\n",
         kernels[kernel].name, table->isa, o->cases, full, tails);
  const uint64_t least = (uint64_t)o->cases * COVERAGE_PERCENT;
  if (o->cases >= COVERAGE_CASES && ((uint64_t)full * 100 < least || (uint64_t)tails * 100 < least)) {
    printf("%s %s: less than %d %% of the cases reach a full tile or have tails\n", kernels[kernel].name, table->isa,
           COVERAGE_PERCENT);
    exit(DIFFERENT);
  }
}

static void run_bench(const eq_kernels *table, uint32_t kernel) {
  start_case(table, kernel, 1);
  current.is_bench = true;
  kernels[kernel].check->bench(&current);
}

static bool chosen(const char *asked, const char *name) { return asked == NULL || strcmp(asked, name) == 0; }

int main(int argc, char **argv) {
  const options o = parse_options(argc, argv);
  if (environment_open(on_fault) != 0) {
    fputs("check_kernels: cannot map memory\n", stderr);
    return USAGE;
  }
  if (o.bench) {
    bench.count = o.count;
    if (o.json != NULL && (bench.json = fopen(o.json, "w")) == NULL) {
      fprintf(stderr, "check_kernels: cannot write %s\n", o.json);
      return USAGE;
    }
    if (bench.json != NULL) fputc('[', bench.json);
    if (o.count) {
      environment_mark(CALIBRATE);
      environment_mark(CALIBRATE);
    }
  }
  bool isa_found = false, kernel_found = false;
  for (uint32_t t = 0; eq_kernels_at(t) != NULL; t++) {
    const eq_kernels *table = eq_kernels_at(t);
    if (!chosen(o.isa, table->isa)) continue;
    isa_found = true;
    printf("isa %s\n", table->isa);
    for (uint32_t i = 0; i < KERNELS; i++) {
      if (!chosen(o.kernel, kernels[i].name)) continue;
      kernel_found = true;
      const bool defined = kernels[i].check != NULL && kernels[i].check->defines;
      if ((t == 0 && !o.bench && !defined) || !is_own(t, i, o.isa != NULL)) continue;
      if (kernels[i].check == NULL) {
        if (t == 0) continue;
        printf("%s %s: there is no tests/native/check_%s.c\n", kernels[i].name, table->isa, kernels[i].name);
        return DIFFERENT;
      }
      if (o.bench) {
        run_bench(table, i);
      } else {
        check(table, i, &o);
      }
    }
  }
  if (bench.json != NULL && (fputs("\n]\n", bench.json) < 0 || fclose(bench.json) != 0)) return USAGE;
  if (!isa_found || !kernel_found) {
    fputs("check_kernels: this CPU has no such table, or no table has such a kernel\n", stderr);
    return USAGE;
  }
  puts("CHECK DONE");
  return fflush(stdout) == 0 ? 0 : USAGE;
}
