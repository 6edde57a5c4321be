/* SPDX-License-Identifier: Apache-2.0
 * Start an emitted program on an emulated Cortex-M core: memory is as the emulator loaded it, output goes by semihosting. */
#include <stdint.h>
#include <stdlib.h>

extern uint8_t eq_stack_end[];
extern int main(void);
extern void initialise_monitor_handles(void);
void eq_reset(void);
void eq_start(void);
void eq_fault(void);

void eq_start(void) {
  initialise_monitor_handles();
  exit(main());
}

void eq_fault(void) { _Exit(99); }

/* Vector registers on (CPACR, which cores without them ignore) before any function saves some. */
__attribute__((naked)) void eq_reset(void) {
  __asm__ volatile("ldr r0, =0xE000ED88\n ldr r1, =0x00F00000\n str r1, [r0]\n dsb\n isb\n ldr r0, =eq_start\n bx r0");
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))eq_stack_end, eq_reset, eq_fault, eq_fault, eq_fault, eq_fault, eq_fault,
};
