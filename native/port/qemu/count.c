/* SPDX-License-Identifier: Apache-2.0
 * A QEMU plugin that reports which code a guest ran, how often, between the marker calls of eqrun --count.
 *
 * qemu -plugin count.so,out=FILE writes, for each marker from the first on:
 *
 *     block ID CODE     before a block is first named: its instructions' bytes in hexadecimal
 *     ran ID TIMES      how often the block ran since the last marker, if it did
 *     left ID TIMES     how often it was not the code right behind it that ran next, as after a taken branch
 *     mark WHAT COUNT   the marker's argument, and all instructions executed up to and with the marker
 *
 * Where QEMU emulates a whole Cortex-M machine, which makes no system calls, the marker is the instruction MOV R9, R9, alone
 * in a function. It has no argument: the first two are taken for calibration and the others are numbered from 0.
 *
 * A block is a straight run of instructions as QEMU translates it, left only at its end. Exact for guests with one
 * thread and no interrupts: a system call ends its block, and the marker's function is the end of the one that it is in, so
 * every block that was entered before a marker has been left or is the marker's own. Part of the development tools: it
 * runs on the host, inside QEMU. */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARKER_CALL 0x5EED

enum { MARKER_CODE = 0x46C9 /* Thumb's MOV R9, R9 */, CALIBRATIONS = 2, MARKER_BYTES = 2 };
#define CALIBRATE UINT32_C(0xFFFFFFFF)

/* The calls of QEMU's plugin interface that are used here, as docs/devel/tcg-plugins.rst describes them. */
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info {
  const char *target_name;
  struct {
    int min;
    int current;
  } version;
  bool system_emulation;
};
typedef void on_translate(plugin_id id, struct qemu_plugin_tb *block);
typedef void on_execute(unsigned int cpu, void *data);
typedef void on_call(plugin_id id, unsigned int cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                     uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);
typedef void on_exit_call(plugin_id id, void *data);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, on_translate *call);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, on_execute *call, int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *instruction, on_execute *call, int flags, void *data);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id id, on_call *call);
void qemu_plugin_register_atexit_cb(plugin_id id, on_exit_call *call, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *instruction);

/* Interface 3 (QEMU 9.1) copies the bytes and returns how many; before, the call returned a pointer to them. QEMU takes
 * plugins built for an older interface than its own, so the form is chosen when the plugin is loaded. */
#define FIRST_COPYING_INTERFACE 3
void qemu_plugin_insn_data(void);
typedef const void *get_code(const struct qemu_plugin_insn *instruction);
typedef size_t copy_code(const struct qemu_plugin_insn *instruction, void *out, size_t bytes);

#define EXPORT __attribute__((visibility("default")))
#ifndef PLUGIN_VERSION
#define PLUGIN_VERSION 1 /* of QEMU before 9; later ones ask for 2 */
#endif

EXPORT extern int qemu_plugin_version;
EXPORT int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc, char **argv);

int qemu_plugin_version = PLUGIN_VERSION;

typedef struct block {
  struct block *next;
  uint64_t runs;
  uint64_t reported_runs; /* of runs, those up to the last marker */
  uint64_t left;
  uint64_t reported_left;
  uint64_t start; /* address */
  uint64_t end;
  uint32_t id;            /* 0 until the report holds the code */
  uint32_t instructions;
  size_t code_bytes;
  uint8_t code[];
} block;

static block *blocks;
static block *last; /* that ran */
static uint32_t last_id;
static uint64_t executed;
static uint32_t marks;
static bool is_system;
static get_code *get; /* one of the two is set */
static copy_code *copy;
static FILE *report;

static size_t read_code(const struct qemu_plugin_insn *instruction, uint8_t *out) {
  const size_t bytes = qemu_plugin_insn_size(instruction);
  if (copy != NULL) return copy(instruction, out, bytes);
  memcpy(out, get(instruction), bytes);
  return bytes;
}

static void count_block(unsigned int cpu, void *data) {
  (void)cpu;
  block *now = data;
  if (last != NULL && now->start != last->end) last->left++;
  last = now;
  now->runs++;
}

static void note_marker(uint32_t what);

static void note_instruction(unsigned int cpu, void *data) {
  (void)cpu, (void)data;
  note_marker(marks < CALIBRATIONS ? CALIBRATE : marks - CALIBRATIONS);
}

static void watch_block(plugin_id id, struct qemu_plugin_tb *translated) {
  (void)id;
  const size_t instructions = qemu_plugin_tb_n_insns(translated);
  size_t bytes = 0;
  for (size_t i = 0; i < instructions; i++) bytes += qemu_plugin_insn_size(qemu_plugin_tb_get_insn(translated, i));
  block *new = calloc(1, sizeof *new + bytes);
  if (new == NULL) {
    fputs("count: out of memory\n", stderr);
    exit(EXIT_FAILURE);
  }
  new->instructions = (uint32_t)instructions;
  for (size_t i = 0; i < instructions; i++) {
    struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(translated, i);
    const uint8_t *code = new->code + new->code_bytes;
    const size_t size = read_code(instruction, new->code + new->code_bytes);
    new->code_bytes += size;
    if (is_system && size == MARKER_BYTES && (code[0] | code[1] << 8) == MARKER_CODE) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, note_instruction, 0, NULL);
    }
  }
  new->start = qemu_plugin_tb_vaddr(translated);
  new->end = new->start + new->code_bytes;
  new->next = blocks;
  blocks = new;
  qemu_plugin_register_vcpu_tb_exec_cb(translated, count_block, 0, new);
}

static void report_runs(block *ran, uint64_t times, uint64_t left) {
  if (ran->id == 0) {
    ran->id = ++last_id;
    fprintf(report, "block %" PRIu32 " ", ran->id);
    for (size_t i = 0; i < ran->code_bytes; i++) fprintf(report, "%02x", ran->code[i]);
    fputc('\n', report);
  }
  if (times > 0) fprintf(report, "ran %" PRIu32 " %" PRIu64 "\n", ran->id, times);
  if (left > 0) fprintf(report, "left %" PRIu32 " %" PRIu64 "\n", ran->id, left);
}

static void note_marker(uint32_t what) {
  for (block *b = blocks; b != NULL; b = b->next) {
    const uint64_t times = b->runs - b->reported_runs, left = b->left - b->reported_left;
    if (times == 0 && left == 0) continue;
    executed += times * b->instructions;
    b->reported_runs = b->runs;
    b->reported_left = b->left;
    if (marks > 0) report_runs(b, times, left);
  }
  marks++;
  fprintf(report, "mark %" PRIu32 " %" PRIu64 "\n", what, executed);
}

static void note_call(plugin_id id, unsigned int cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                      uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (number == MARKER_CALL) note_marker((uint32_t)a1);
}

static void close_report(plugin_id id, void *data) {
  (void)id, (void)data;
  fclose(report);
}

int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc, char **argv) {
  if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || (report = fopen(argv[0] + 4, "w")) == NULL) {
    fputs("count: out=FILE expected, a file that can be written\n", stderr);
    return -1;
  }
  if (info->version.current >= FIRST_COPYING_INTERFACE) {
    copy = (copy_code *)qemu_plugin_insn_data;
  } else {
    get = (get_code *)qemu_plugin_insn_data;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, watch_block);
  is_system = info->system_emulation;
  if (!is_system) qemu_plugin_register_vcpu_syscall_cb(id, note_call);
  qemu_plugin_register_atexit_cb(id, close_report, NULL);
  return 0;
}
