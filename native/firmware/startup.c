/* SPDX-License-Identifier: Apache-2.0
 * From reset to main: vectors, floating-point unit, stack and arena painted, data in place. */
#include "firmware/counter.h"
#include "firmware/fault.h"
#include "firmware/sections.h"
#include "port/cortex_m.h"
#include "port/uart.h"

extern uint32_t eq_data_start[], eq_data_end[], eq_data_load[], eq_bss_start[], eq_bss_end[];

int main(void);
void eq_reset(void);
void eq_start(void);

/* Fill a range of whole 16 bytes; no loop of a compiler does it in as few instructions on every core. */
static void paint(uint32_t *from, const uint32_t *end, uint32_t value) {
  __asm__ volatile(
      "mov r4, %2\n mov r5, %2\n mov r6, %2\n"
      "b 2f\n"
      "1: stmia %0!, {%2, r4, r5, r6}\n"
      "2: cmp %0, %1\n"
      "blo 1b\n"
      : "+l"(from)
      : "l"(end), "l"(value)
      : "r4", "r5", "r6", "cc", "memory");
}

uint32_t eq_painted_up(const uint32_t *from, const uint32_t *end) {
  uint32_t words = 0;
  while (from != end && *from++ == EQ_PAINT) words++;
  return words;
}

uint32_t eq_painted_down(const uint32_t *from, const uint32_t *end) {
  uint32_t words = 0;
  while (from != end && *--end == EQ_PAINT) words++;
  return words;
}

void eq_start(void) {
  const uint32_t *in = eq_data_load;
  for (uint32_t *out = eq_data_start; out != eq_data_end;) *out++ = *in++;
  paint(eq_bss_start, eq_bss_end, 0);
  paint(eq_arena_start, eq_arena_end, EQ_PAINT);
  main();
  for (;;) {
  }
}

/* Nothing here may touch the stack, which is painted, nor follow a function that saves vector registers before CPACR lets
 * it. The stack pointer is set for loaders that jump here. */
__attribute__((naked)) void eq_reset(void) {
  __asm__ volatile(
      "ldr r0, =eq_stack_end\n"
      "mov sp, r0\n"
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
      "ldr r0, =0xE000ED88\n" /* CPACR: coprocessors 10 and 11 */
      "ldr r1, =0x00F00000\n"
      "str r1, [r0]\n"
      "dsb\n"
      "isb\n"
#endif
      "ldr r0, =eq_stack_start\n"
      "ldr r1, =eq_stack_end\n"
      "ldr r2, =0xC5C5C5C5\n" /* EQ_PAINT */
      "mov r3, r2\n"
      "mov r4, r2\n"
      "mov r5, r2\n"
      "1: stmia r0!, {r2, r3, r4, r5}\n"
      "cmp r0, r1\n"
      "blo 1b\n"
      "ldr r0, =eq_start\n"
      "bx r0");
}

typedef void handler(void);

enum { SYSTEM_VECTORS = 16 };

__attribute__((section(".vectors"), used)) handler *const eq_vectors[SYSTEM_VECTORS + EQ_PORT_UART_IRQ + 1] = {
    (handler *)(void *)eq_stack_end,
    eq_reset,
    eq_fault, /* NMI */
    eq_fault, /* HardFault */
    eq_fault, /* MemManage */
    eq_fault, /* BusFault */
    eq_fault, /* UsageFault */
    eq_fault, /* SecureFault */
    NULL,
    NULL,
    NULL,
    eq_fault, /* SVCall */
    eq_fault, /* DebugMonitor */
    NULL,
    eq_fault, /* PendSV */
    eq_counter_wrapped,
#if EQ_PORT_UART_IRQ > 0
    [SYSTEM_VECTORS ... SYSTEM_VECTORS + EQ_PORT_UART_IRQ - 1] = eq_fault,
#endif
    [SYSTEM_VECTORS + EQ_PORT_UART_IRQ] = eq_uart_interrupt,
};
