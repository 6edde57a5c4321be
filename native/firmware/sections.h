/* SPDX-License-Identifier: Apache-2.0
 * Where the linker script puts things. Every range below begins and ends at a multiple of 16 bytes. */
#ifndef EDGEQ_FIRMWARE_SECTIONS_H
#define EDGEQ_FIRMWARE_SECTIONS_H

#include <stdint.h>

extern uint32_t eq_stack_start[], eq_stack_end[];
extern uint32_t eq_arena_start[], eq_arena_end[];

/* What the stack and the arena hold before anything is written to them. */
#define EQ_PAINT UINT32_C(0xC5C5C5C5)

#define EQ_IN_ARENA __attribute__((section(".arena"))) /* painted at the start */
#define EQ_KEPT __attribute__((section(".noinit")))    /* keeps its contents over a reset */

/* Whole words still painted from `from` on, and from the end of a range down. */
uint32_t eq_painted_up(const uint32_t *from, const uint32_t *end);
uint32_t eq_painted_down(const uint32_t *from, const uint32_t *end);

#endif
