/* SPDX-License-Identifier: Apache-2.0
 * eqrun: run a model file on Linux, from files to files.
 *
 * A data file holds samples back to back, each all inputs (or outputs) in the model's order as raw little-endian codes.
 * A run that did everything asked ends with two lines, "EQRUN ISA name" with the kernels that it used and
 * "EQRUN DONE crc=XXXXXXXX" with the CRC-32 of all output bytes: only the last line proves that, as an emulator or a shell
 * in between may end with 0 when eqrun did not. Its exit codes are edgeq's: 1 usage, kernels that the CPU or the model's
 * weights rule out among it, 3 out of memory, 8 bad model or data, 9 cannot read or write. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "edgeq/edgeq.h"
#include "kernels/kernels.h"
#include "serve.h"
#include "threads.h"

enum { EXIT_USAGE = 1, EXIT_NO_MEMORY = 3, EXIT_BAD_INPUT = 8, EXIT_STORAGE = 9 };
enum { MAX_RUNS = 1000000, SLOT_BYTES = 1 << 20, SLOT_PAGE = 4096, MAX_SLOT_PAGES = 1 << 16 };

/* A system call that no kernel has (it answers ENOSYS): native/port/qemu/count.c sees it and notes how many
 * instructions ran. The argument is the step about to run, the step count after the last, or CALIBRATE. */
#define MARKER_CALL 0x5EED
#define CALIBRATE UINT32_C(0xFFFFFFFF)

typedef struct options {
  const char *model;
  const char *input;
  const char *output;
  const char *crc;
  const char *profile;
  const char *isa;
  const char *serve;
  const char *slots;
  uint32_t repeat;
  uint32_t warmup;
  uint32_t threads;
  uint32_t slot_bytes;
  bool check;
  bool count;
} options;

typedef struct bytes {
  const uint8_t *data;
  size_t size;
} bytes;

static const char usage[] =
    "usage: eqrun MODEL.eqm [--input FILE] [--output FILE] [--crc FILE] [--profile FILE.json] [--repeat N] [--warmup N]\n"
    "             [--threads N] [--isa NAME] [--check] [--count]\n"
    "       eqrun [MODEL.eqm | --slots FILE [--slot-pages N]] --serve BOARD [--isa NAME] [--check]\n"
    "  --input FILE    samples, each all inputs in order as raw little-endian codes; zeros without it\n"
    "  --output FILE   where the outputs go, in the same form\n"
    "  --crc FILE      a 32-bit CRC of every step's outputs, for every sample\n"
    "  --profile FILE  nanoseconds of every step in every run, and of getting ready, as JSON\n"
    "  --repeat N      runs of each sample, 1 without it; --warmup N more before them, which are not timed\n"
    "  --threads N     at most N threads (1 to 4, 1 without it) for the steps that the model lets be divided\n"
    "  --isa NAME      kernels to use instead of the fastest ones; EDGEQ_ISA does the same\n"
    "  --check         check the CRC of the whole model file first\n"
    "  --slots FILE    a file that keeps two models, made when it is missing, each slot of N pages of 4096 bytes (256)\n"
    "  --serve BOARD   answer the edgeq link on standard input and output, under this board's name, until the input ends\n"
    "  --count         tell the emulator's instruction counter when a step starts; no times in the profile\n";

__attribute__((noreturn, format(printf, 2, 3))) static void fail(int code, const char *format, ...) {
  va_list values;
  va_start(values, format);
  fputs("eqrun: ", stderr);
  vfprintf(stderr, format, values);
  fputc('\n', stderr);
  va_end(values);
  exit(code);
}

static uint32_t parse_number(const char *option, const char *text, uint32_t low, uint32_t high) {
  char *end = NULL;
  errno = 0;
  const unsigned long value = strtoul(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value < low || value > high) {
    fail(EXIT_USAGE, "%s takes a number from %" PRIu32 " to %" PRIu32 ", not '%s'", option, low, high, text);
  }
  return (uint32_t)value;
}

static options parse_options(int argc, char **argv) {
  options o = {.repeat = 1, .threads = 1, .slot_bytes = SLOT_BYTES, .isa = getenv("EDGEQ_ISA")};
  if (o.isa != NULL && *o.isa == '\0') o.isa = NULL;
  for (int i = 1; i < argc; i++) {
    const char *name = argv[i];
    if (strcmp(name, "--help") == 0) {
      fputs(usage, stdout);
      exit(0);
    }
    if (strncmp(name, "--", 2) != 0) {
      if (o.model != NULL) fail(EXIT_USAGE, "one model expected, '%s' is a second", name);
      o.model = name;
      continue;
    }
    if (strcmp(name, "--check") == 0) {
      o.check = true;
      continue;
    }
    if (strcmp(name, "--count") == 0) {
      o.count = true;
      continue;
    }
    if (i + 1 == argc) fail(EXIT_USAGE, "'%s' is no option, or lacks its value; try --help", name);
    const char *value = argv[++i];
    if (strcmp(name, "--input") == 0) {
      o.input = value;
    } else if (strcmp(name, "--output") == 0) {
      o.output = value;
    } else if (strcmp(name, "--crc") == 0) {
      o.crc = value;
    } else if (strcmp(name, "--profile") == 0) {
      o.profile = value;
    } else if (strcmp(name, "--isa") == 0) {
      o.isa = value;
    } else if (strcmp(name, "--serve") == 0) {
      o.serve = value;
    } else if (strcmp(name, "--slots") == 0) {
      o.slots = value;
    } else if (strcmp(name, "--slot-pages") == 0) {
      o.slot_bytes = SLOT_PAGE * parse_number(name, value, 2, MAX_SLOT_PAGES);
    } else if (strcmp(name, "--repeat") == 0) {
      o.repeat = parse_number(name, value, 1, MAX_RUNS);
    } else if (strcmp(name, "--warmup") == 0) {
      o.warmup = parse_number(name, value, 0, MAX_RUNS);
    } else if (strcmp(name, "--threads") == 0) {
      o.threads = parse_number(name, value, 1, EQ_MAX_PARTS);
    } else {
      fail(EXIT_USAGE, "there is no option '%s'; try --help", name);
    }
  }
  if (o.model == NULL && o.serve == NULL) fail(EXIT_USAGE, "no model given\n%s", usage);
  return o;
}

static bytes map_file(const char *path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) fail(EXIT_STORAGE, "cannot open '%s': %s", path, strerror(errno));
  struct stat about;
  if (fstat(file, &about) != 0) fail(EXIT_STORAGE, "cannot read '%s': %s", path, strerror(errno));
  if (!S_ISREG(about.st_mode)) fail(EXIT_STORAGE, "cannot read '%s': not a regular file", path);
  if (about.st_size == 0) fail(EXIT_BAD_INPUT, "'%s' is empty", path);
  if ((uintmax_t)about.st_size > SIZE_MAX / 2) fail(EXIT_NO_MEMORY, "'%s' is too large for this machine", path);
  const size_t size = (size_t)about.st_size;
  void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
  if (data == MAP_FAILED) fail(EXIT_STORAGE, "cannot map '%s': %s", path, strerror(errno));
  close(file);
  return (bytes){data, size};
}

/* Zeroed, page-aligned memory that is never given back. */
static void *allocate(uint64_t size) {
  void *memory = MAP_FAILED;
  if (size <= SIZE_MAX / 2) {
    memory = mmap(NULL, size == 0 ? 1 : (size_t)size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  }
  if (memory == MAP_FAILED) fail(EXIT_NO_MEMORY, "cannot get %" PRIu64 " bytes of memory", size);
  return memory;
}

static FILE *create(const char *path) {
  if (path == NULL) return NULL;
  FILE *file = fopen(path, "wb");
  if (file == NULL) fail(EXIT_STORAGE, "cannot write '%s': %s", path, strerror(errno));
  return file;
}

static void append(FILE *file, const char *path, const void *data, size_t size) {
  if (fwrite(data, 1, size, file) != size) fail(EXIT_STORAGE, "cannot write '%s': %s", path, strerror(errno));
}

static void finish(FILE *file, const char *path) {
  if (file != NULL && fclose(file) != 0) fail(EXIT_STORAGE, "cannot write '%s': %s", path, strerror(errno));
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void mark(uint32_t what) { (void)syscall(MARKER_CALL, what); }

static void open_model(eq_model *model, const options *o) {
  const bytes file = map_file(o->model);
  eq_status status = eq_model_open(model, file.data, file.size);
  if (status == EQ_OK && o->check) status = eq_model_check_payload(model);
  if (status != EQ_OK) fail(EXIT_BAD_INPUT, "'%s' is refused: %s (%d)", o->model, eq_status_name(status), (int)status);
}

/* Give a portable model the order of weights that its kernels read. */
static void repack(eq_model *model, const options *o) {
  const size_t size = eq_repacked_bytes(model, o->isa);
  if (size == 0) return;
  void *image = allocate(size);
  eq_model_repack(image, model, o->isa);
  const eq_status status = eq_model_open(model, image, size);
  if (status != EQ_OK) fail(EXIT_BAD_INPUT, "'%s' is refused: %s (%d)", o->model, eq_status_name(status), (int)status);
}

__attribute__((noreturn)) static void refuse_isa(const char *isa) {
  char names[128] = "";
  const eq_kernels *table;
  for (uint32_t i = 0; (table = eq_kernels_at(i)) != NULL; i++) {
    const size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, i == 0 ? "%s" : ", %s", table->isa);
  }
  fail(EXIT_USAGE, "there are no kernels called '%s' for this CPU, it has %s", isa, names);
}

static void start_runner(eq_runner *runner, const eq_model *model, const options *o) {
  const uint32_t arena_bytes = eq_arena_bytes(model);
  eq_status status = eq_runner_init(runner, model, allocate(arena_bytes), arena_bytes);
  if (status == EQ_OK && o->isa != NULL) status = eq_runner_use(runner, o->isa);
  if (status == EQ_ERR_ISA) refuse_isa(o->isa);
  if (status == EQ_ERR_LAYOUT) {
    fail(EXIT_USAGE, "'%s' holds its weights in an order that %s%s do not read; convert it for this board, or without --board",
         o->model, o->isa != NULL ? "the kernels called " : "this CPU's kernels", o->isa != NULL ? o->isa : "");
  }
  if (status != EQ_OK) fail(EXIT_BAD_INPUT, "'%s' is refused: %s (%d)", o->model, eq_status_name(status), (int)status);
}

/* Size of one sample's inputs. */
static size_t sample_bytes(const eq_model *model) {
  size_t size = 0;
  for (uint32_t i = 0; i < eq_input_count(model); i++) size += eq_tensor_bytes(model, eq_input_port(model, i)->tensor);
  return size;
}

static void feed(const eq_runner *runner, const uint8_t *sample) {
  const eq_model *model = runner->model;
  for (uint32_t i = 0; i < eq_input_count(model); i++) {
    const size_t size = eq_tensor_bytes(model, eq_input_port(model, i)->tensor);
    if (sample == NULL) {
      memset(eq_input(runner, i), 0, size);
    } else {
      memcpy(eq_input(runner, i), sample, size);
      sample += size;
    }
  }
}

/* Run one inference with a clock reading before and after each step; ns has one entry per step. */
static void run_timed(const eq_runner *runner, uint64_t *ns) {
  uint64_t before = now_ns();
  for (uint32_t i = 0; i < eq_step_count(runner->model); i++) {
    eq_run_step(runner, i);
    const uint64_t after = now_ns();
    ns[i] = after - before;
    before = after;
  }
}

static void run_counted(const eq_runner *runner) {
  const uint32_t steps = eq_step_count(runner->model);
  mark(CALIBRATE);
  mark(CALIBRATE);
  for (uint32_t i = 0; i < steps; i++) {
    mark(i);
    eq_run_step(runner, i);
  }
  mark(steps);
}

static void run_with_crcs(const eq_runner *runner, FILE *file, const char *path) {
  for (uint32_t i = 0; i < eq_step_count(runner->model); i++) {
    eq_run_step(runner, i);
    const uint32_t crc = eq_step_crc(runner, i);
    const uint8_t little[4] = {(uint8_t)crc, (uint8_t)(crc >> 8), (uint8_t)(crc >> 16), (uint8_t)(crc >> 24)};
    append(file, path, little, sizeof little);
  }
}

static uint32_t write_outputs(const eq_runner *runner, FILE *file, const char *path, uint32_t crc) {
  for (uint32_t i = 0; i < eq_output_count(runner->model); i++) {
    const size_t size = eq_tensor_bytes(runner->model, eq_output_port(runner->model, i)->tensor);
    if (file != NULL) append(file, path, eq_output(runner, i), size);
    crc = eq_crc32(crc, eq_output(runner, i), size);
  }
  return crc;
}

/* Begin to measure the CPU time of every thread, or stop: what passed in between is in cpu_ns, added to what was. */
static void toggle_cpu_times(const eq_pool *pool, uint64_t cpu_ns[EQ_MAX_PARTS]) {
  for (uint32_t i = 0; i < eq_pool_threads(pool)->count; i++) cpu_ns[i] = eq_pool_cpu_ns(pool, i) - cpu_ns[i];
}

static void write_profile(const eq_runner *runner, const options *o, uint64_t open_ns, const uint64_t *cpu_ns,
                          const uint64_t *ns, uint64_t runs) {
  FILE *file = create(o->profile);
  const uint32_t steps = eq_step_count(runner->model);
  fprintf(file, "{\"isa\": \"%s\", \"threads\": %" PRIu32 ", \"warmup\": %" PRIu32 ", \"runtime_bytes\": %zu, "
          "\"open_ns\": %" PRIu64 ", ",
          eq_runner_isa(runner), o->threads, o->warmup, sizeof(eq_model) + sizeof(eq_runner), open_ns);
  fputs("\"cpu_ns\": [", file);
  for (uint32_t i = 0; i < o->threads; i++) fprintf(file, i == 0 ? "%" PRIu64 : ", %" PRIu64, cpu_ns[i]);
  fputs("], \"step_ns\": [", file);
  for (uint64_t run = 0; run < runs; run++) {
    fputs(run == 0 ? "\n[" : ",\n[", file);
    for (uint32_t i = 0; i < steps; i++) fprintf(file, i == 0 ? "%" PRIu64 : ", %" PRIu64, ns[run * steps + i]);
    fputc(']', file);
  }
  fputs("]}\n", file);
  if (ferror(file) != 0) fail(EXIT_STORAGE, "cannot write '%s'", o->profile);
  finish(file, o->profile);
}

static int serve(const eq_runner *runner, const eq_header_record *file, const options *o) {
  const int code = eq_serve(&(eq_served){o->serve, runner, file, o->slots, o->slot_bytes});
  if (code != 0 && o->slots != NULL) fail(code, "cannot use '%s' for slots: %s", o->slots, strerror(errno));
  return code;
}

int main(int argc, char **argv) {
  const options o = parse_options(argc, argv);
  eq_model model;
  eq_runner runner;
  if (o.model == NULL) return serve(NULL, NULL, &o);
  const uint64_t start = now_ns();
  open_model(&model, &o);
  const eq_header_record *file = model.header;
  repack(&model, &o);
  start_runner(&runner, &model, &o);
  const uint64_t open_ns = now_ns() - start;
  if (o.serve != NULL) return serve(&runner, file, &o);
  eq_pool *pool = eq_pool_start(o.threads);
  if (pool == NULL) fail(EXIT_NO_MEMORY, "cannot start %" PRIu32 " threads", o.threads);
  if (o.threads > 1) runner.threads = eq_pool_threads(pool);

  bytes input = {NULL, 0};
  size_t samples = 1;
  const size_t stride = sample_bytes(&model);
  if (o.input != NULL) {
    input = map_file(o.input);
    if (stride == 0 || input.size % stride != 0) {
      fail(EXIT_BAD_INPUT, "'%s' has %zu bytes, not a multiple of the %zu bytes of a sample", o.input, input.size, stride);
    }
    samples = input.size / stride;
  }
  FILE *output = create(o.output);
  FILE *crcs = create(o.crc);
  const uint32_t steps = eq_step_count(&model);
  const uint64_t runs = (uint64_t)samples * o.repeat;
  uint64_t *ns = o.profile == NULL ? NULL : allocate(runs * steps * sizeof *ns);

  uint64_t run = 0, cpu_ns[EQ_MAX_PARTS] = {0};
  uint32_t crc = 0;
  for (size_t i = 0; i < samples; i++) {
    const uint8_t *sample = input.data == NULL ? NULL : input.data + i * stride;
    for (uint32_t j = 0; j < o.warmup; j++) {
      feed(&runner, sample);
      eq_run(&runner);
    }
    toggle_cpu_times(pool, cpu_ns);
    for (uint32_t j = 0; j < o.repeat; j++, run++) {
      feed(&runner, sample);
      if (crcs != NULL && j == 0) {
        run_with_crcs(&runner, crcs, o.crc);
      } else if (o.count) {
        run_counted(&runner);
      } else if (ns != NULL) {
        run_timed(&runner, ns + run * steps);
      } else {
        eq_run(&runner);
      }
    }
    toggle_cpu_times(pool, cpu_ns);
    crc = write_outputs(&runner, output, o.output, crc);
  }
  finish(output, o.output);
  finish(crcs, o.crc);
  if (ns != NULL) write_profile(&runner, &o, open_ns, cpu_ns, ns, o.count ? 0 : runs);
  eq_pool_stop(pool);
  printf("EQRUN ISA %s\nEQRUN DONE crc=%08" PRIx32 "\n", eq_runner_isa(&runner), crc);
  if (fflush(stdout) != 0) return EXIT_STORAGE;
  return 0;
}
