/* SPDX-License-Identifier: Apache-2.0
 * The harness on an emulated Cortex-M core without an operating system: newlib, its files and output by semihosting.
 *
 * The linker script's symbols say where the machine's memory is. Only what follows one block of RAM is a fault to touch, so
 * one buffer of each case, every time another, lies there. */
#include "environment.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"

#define NS_PER_CLOCK (UINT64_C(1000000000) / CLOCKS_PER_SEC)

enum { ARGUMENTS = 32, COMMAND_BYTES = 512, GET_COMMAND_LINE = 0x15 /* of the semihosting specification */ };
enum { VECTORS = 16 };

extern uint8_t eq_slots[], eq_slots_end[], eq_edge[], eq_edge_end[], eq_stack_end[];
extern void initialise_monitor_handles(void); /* newlib's: opens standard output */
extern void _exit(int code);
extern int main(int argc, char **argv);
void eq_reset(void);
void eq_fault(void);
void eq_start(void);
void eq_report_fault(int number);

static void (*report)(int number);

#if __ARM_ARCH == 7
/* Some machines of this architecture answer reads from where no memory is, so the MPU closes a mebibyte behind the edge
 * (ARMv7-M Architecture Reference Manual, B3.5: no access, the default map elsewhere). */
static void close_hole(void) {
  enum { ENABLE = 1, DEFAULT_MAP = 4, MEBIBYTE = 19 << 1 };
  volatile uint32_t *const control = (uint32_t *)0xE000ED94, *const number = (uint32_t *)0xE000ED98;
  volatile uint32_t *const base = (uint32_t *)0xE000ED9C, *const attributes = (uint32_t *)0xE000EDA0;
  *number = 0;
  *base = (uint32_t)eq_edge_end;
  *attributes = MEBIBYTE | ENABLE;
  *control = DEFAULT_MAP | ENABLE;
  __asm__ volatile("dsb\n isb");
}
#else
static void close_hole(void) {}
#endif

int environment_open(void (*on_fault)(int number)) {
  report = on_fault;
  close_hole();
  return 0;
}

region environment_region(int32_t i, uint64_t seed) {
  if (seed % HARNESS_BUFFERS == (uint64_t)i) return (region){eq_edge, (size_t)(eq_edge_end - eq_edge)};
  const size_t bytes = (size_t)(eq_slots_end - eq_slots) / HARNESS_BUFFERS;
  return (region){eq_slots + (size_t)i * bytes, bytes};
}

uint64_t environment_now_ns(void) { return (uint64_t)clock() * NS_PER_CLOCK; }

/* The counter numbers these instructions itself, which do nothing. */
__attribute__((noinline)) void environment_mark(uint32_t what) {
  (void)what;
  __asm__ volatile("mov r9, r9");
}

_Noreturn void environment_end(int code) {
  _exit(code);
  for (;;) {
  }
}

/* Start and faults. */

static int32_t semihost(int32_t operation, void *block) {
  register int32_t r0 __asm__("r0") = operation;
  register void *r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void eq_start(void) {
  static char line[COMMAND_BYTES];
  static char *arguments[ARGUMENTS];
  struct {
    char *text;
    size_t bytes;
  } block = {line, sizeof line};
  initialise_monitor_handles();
  if (semihost(GET_COMMAND_LINE, &block) != 0) exit(EXIT_FAILURE);
  int count = 0;
  for (char *word = strtok(line, " "); word != NULL && count < ARGUMENTS; word = strtok(NULL, " ")) arguments[count++] = word;
  exit(main(count, arguments));
}

/* A fault leaves handler mode, in which semihosting works as well, with its number. */
void eq_report_fault(int number) {
  if (report != NULL) report(number);
  environment_end(EXIT_FAILURE);
}

__attribute__((naked)) void eq_fault(void) { __asm__ volatile("mrs r0, ipsr\n ldr r1, =eq_report_fault\n bx r1"); }

/* Coprocessors 10 and 11 on (CPACR; a core that has none ignores that), before any function saves vector registers. */
__attribute__((naked)) void eq_reset(void) {
  __asm__ volatile(
      "ldr r0, =0xE000ED88\n"
      "ldr r1, =0x00F00000\n"
      "str r1, [r0]\n"
      "dsb\n"
      "isb\n"
      "ldr r0, =eq_start\n"
      "bx r0");
}

__attribute__((section(".vectors"), used)) static void (*const vectors[VECTORS])(void) = {
    (void (*)(void))eq_stack_end, eq_reset, eq_fault, eq_fault, eq_fault, eq_fault, eq_fault, eq_fault,
};
