/* SPDX-License-Identifier: Apache-2.0
 * A QEMU plugin that notes how many guest instructions had run at each marker call of eqrun --count.
 *
 * qemu -plugin count.so,out=FILE writes one line "WHAT COUNT" per marker: its argument and the instructions executed up
 * to and with the marker. Exact for guests with one thread: a system call ends its block, so every block that was
 * entered before a marker has also been left. Part of the development tools: it runs on the host, inside QEMU. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MARKER_CALL 0x5EED

/* The calls of QEMU's plugin interface that are used here, as docs/devel/tcg-plugins.rst describes them. */
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_info;
typedef void on_translate(plugin_id id, struct qemu_plugin_tb *block);
typedef void on_execute(unsigned int cpu, void *data);
typedef void on_call(plugin_id id, unsigned int cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                     uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);
typedef void on_exit_call(plugin_id id, void *data);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, on_translate *call);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, on_execute *call, int flags, void *data);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id id, on_call *call);
void qemu_plugin_register_atexit_cb(plugin_id id, on_exit_call *call, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);

#define EXPORT __attribute__((visibility("default")))
#ifndef PLUGIN_VERSION
#define PLUGIN_VERSION 1 /* of QEMU before 9; later ones ask for 2 */
#endif

EXPORT extern int qemu_plugin_version;
EXPORT int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc, char **argv);

int qemu_plugin_version = PLUGIN_VERSION;

static uint64_t executed;
static FILE *report;

static void count_block(unsigned int cpu, void *data) {
  (void)cpu;
  executed += (uintptr_t)data;
}

static void watch_block(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_cb(block, count_block, 0, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void note_marker(plugin_id id, unsigned int cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                        uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (number == MARKER_CALL) fprintf(report, "%" PRIu32 " %" PRIu64 "\n", (uint32_t)a1, executed);
}

static void close_report(plugin_id id, void *data) {
  (void)id, (void)data;
  fclose(report);
}

int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc, char **argv) {
  (void)info;
  if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || (report = fopen(argv[0] + 4, "w")) == NULL) {
    fputs("count: out=FILE expected, a file that can be written\n", stderr);
    return -1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, watch_block);
  qemu_plugin_register_vcpu_syscall_cb(id, note_marker);
  qemu_plugin_register_atexit_cb(id, close_report, NULL);
  return 0;
}
