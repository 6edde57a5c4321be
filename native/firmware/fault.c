/* SPDX-License-Identifier: Apache-2.0
 * Store what a fault was, where and during which step, in memory that a reset leaves alone; then reset. */
#include "firmware/fault.h"

#include "edgeq/port.h"
#include "firmware/sections.h"
#include "port/cortex_m.h"

enum { R0, R1, R2, R3, R12, LR, PC, XPSR, FRAME_WORDS }; /* what the core stacks */

void eq_fault_store(const uint32_t *frame, uint32_t exception);

static EQ_KEPT eq_fault_record record;
static const eq_device *watched;

void eq_fault_watch(const eq_device *device) { watched = device; }

static uint32_t record_crc(void) { return eq_crc32(0, &record, offsetof(eq_fault_record, crc)); }

/* A stack pointer that has left the stack is set back to its end, so that what follows has one; the frame is lost then. */
__attribute__((naked)) void eq_fault(void) {
  __asm__ volatile(
      "mov r0, sp\n"
      "mrs r1, ipsr\n"
      "ldr r2, =eq_stack_start\n"
      "cmp r0, r2\n"
      "bhs 1f\n"
      "ldr r2, =eq_stack_end\n"
      "mov sp, r2\n"
      "1: ldr r2, =eq_fault_store\n"
      "bx r2");
}

__attribute__((used)) void eq_fault_store(const uint32_t *frame, uint32_t exception) {
  record = (eq_fault_record){.exception = exception, .step = EQ_NO_STEP, .tensor = EQ_NO_STEP};
  record.sp = (uint32_t)(uintptr_t)frame;
  if (frame >= eq_stack_start && frame + FRAME_WORDS <= eq_stack_end) {
    record.r0 = frame[R0];
    record.r1 = frame[R1];
    record.r2 = frame[R2];
    record.r3 = frame[R3];
    record.r12 = frame[R12];
    record.lr = frame[LR];
    record.pc = frame[PC];
    record.xpsr = frame[XPSR];
  }
#if __ARM_ARCH_ISA_THUMB == 2
  record.cfsr = EQ_SCB_CFSR;
  record.hfsr = EQ_SCB_HFSR;
  record.bfar = EQ_SCB_BFAR;
#endif
  if (watched != NULL && watched->step != EQ_NO_STEP && watched->runner != NULL) {
    const eq_model *const model = watched->runner->model;
    const eq_step_record *const step = &model->steps[watched->step];
    record.step = watched->step;
    record.tensor = model->operands[step->first_operand + step->input_count];
  }
  record.crc = record_crc();
  eq_port_reboot();
}

const eq_fault_record *eq_fault_stored(void) { return record.crc == record_crc() ? &record : NULL; }

void eq_fault_clear(const eq_device *device) {
  (void)device;
  record.crc = ~record_crc();
}
