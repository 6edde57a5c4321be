/* SPDX-License-Identifier: Apache-2.0
 * A Cortex-M without a C library: the vector table, the coprocessors and the way out. */
#define ENTRY

void _start(void) __attribute__((noreturn));

/* Initial stack pointer, then the reset handler; lies at address 0. */
__attribute__((section(".vectors"), used)) static const struct {
  uintptr_t stack;
  void (*reset)(void);
} VECTORS = {0x70000, _start};

/* Allow floating point and vectors: CPACR, full access to CP10 and CP11. */
static void prepare_core(void) {
  *(volatile uint32_t *)0xE000ED88 |= UINT32_C(0xF) << 20;
  __asm__ volatile("dsb\n\tisb" : : : "memory");
}

/* Semihosting's SYS_EXIT_EXTENDED with ADP_Stopped_ApplicationExit. */
static _Noreturn void leave(int32_t status) {
  const uint32_t block[2] = {0x20026, (uint32_t)status};
  for (;;) {
    register uint32_t operation __asm__("r0") = 0x20;
    register const uint32_t *argument __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(operation) : "r"(argument) : "memory");
  }
}
