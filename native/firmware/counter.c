/* SPDX-License-Identifier: Apache-2.0
 * The counter of this chip, found by trying. */
#include "firmware/counter.h"

#include <stdbool.h>

#include "edgeq/port.h"
#include "port/cortex_m.h"

#define SYSTICK_MASK 0x00FFFFFFu
#define SYSTICK_ON 7u /* ENABLE, TICKINT, CLKSOURCE: the core's clock */

static eq_counter_unit unit;
static volatile uint32_t wraps; /* of the system timer */
static uint32_t high, low;      /* of the others, at the last look */

void eq_counter_wrapped(void) { wraps++; }

/* QEMU's does not advance, nor does a core's that was made without it. */
static bool start_cycle_counter(void) {
#if __ARM_ARCH_ISA_THUMB == 2
  EQ_DCB_DEMCR |= EQ_DEMCR_TRCENA;
  EQ_DWT_LAR = EQ_LAR_KEY; /* Cortex-M7 locks it */
  EQ_DWT_CYCCNT = 0;
  EQ_DWT_CTRL |= 1;
  eq_barrier();
  return EQ_DWT_CYCCNT != EQ_DWT_CYCCNT;
#else
  return false;
#endif
}

static bool start_system_timer(void) {
  EQ_SYST_RVR = SYSTICK_MASK;
  EQ_SYST_CVR = 0;
  EQ_SYST_CSR = SYSTICK_ON;
  return EQ_SYST_RVR == SYSTICK_MASK; /* a core without it reads 0, such as the nRF51's */
}

eq_counter_unit eq_counter_start(uint32_t *hz) {
  *hz = EQ_CLOCK_HZ;
  if (start_cycle_counter()) {
    unit = EQ_COUNTER_DWT;
  } else if (start_system_timer()) {
    unit = EQ_COUNTER_SYSTICK;
  } else {
    eq_port_timer_start();
    *hz = eq_port_timer_hz();
    unit = EQ_COUNTER_PERIPHERAL;
  }
  return unit;
}

/* It counts down from its reload value, and interrupts as it reaches 0. */
static uint64_t system_time(void) {
  uint32_t turns, value;
  do {
    turns = wraps;
    value = EQ_SYST_CVR;
  } while (turns != wraps || (EQ_SCB_ICSR & EQ_ICSR_PENDSTSET) != 0);
  return ((uint64_t)turns << 24) + ((0u - value) & SYSTICK_MASK);
}

uint64_t eq_counter_read(void) {
  if (unit == EQ_COUNTER_SYSTICK) return system_time();
  const uint32_t now = unit == EQ_COUNTER_DWT ? EQ_DWT_CYCCNT : eq_port_timer();
  if (now < low) high++;
  low = now;
  return (uint64_t)high << 32 | now;
}
