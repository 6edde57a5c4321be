/* SPDX-License-Identifier: Apache-2.0
 * What the commands of the link act on: a board, the model on it, and what the last run left.
 *
 * The firmware's main function, or the server on Linux, fills an eq_device in; nothing here allocates or waits. */
#ifndef EDGEQ_LINK_DEVICE_H
#define EDGEQ_LINK_DEVICE_H

#include "edgeq/edgeq.h"
#include "link/log.h"

/* Counter units of HELLO. */
typedef enum eq_counter_unit {
  EQ_COUNTER_DWT = 1,        /* cycles, by the core's cycle counter */
  EQ_COUNTER_SYSTICK = 2,    /* cycles, by the system timer */
  EQ_COUNTER_PERIPHERAL = 3, /* ticks of a timer of the chip */
  EQ_COUNTER_NS = 4,         /* nanoseconds */
} eq_counter_unit;

/* Flags of HELLO; EQ_DEVICE_MODEL_READY and EQ_DEVICE_FAULT_STORED are set by the link itself. */
#define EQ_DEVICE_MODEL_READY 1
#define EQ_DEVICE_ON_TRIAL 2
#define EQ_DEVICE_FAULT_STORED 4
#define EQ_DEVICE_WATCHDOG_RESET 8

/* Features of HELLO; slots, text commands and counts are added by the link itself. */
#define EQ_FEATURE_SLOTS 1
#define EQ_FEATURE_SIGNED 2
#define EQ_FEATURE_FIXED_MODEL 4
#define EQ_FEATURE_TEXT 8
#define EQ_FEATURE_COUNTS 16

#define EQ_NO_SLOT 255
#define EQ_NO_STEP UINT32_C(0xFFFFFFFF)

/* What FAULT answers; LINK.md. */
typedef struct eq_fault_record {
  uint32_t exception;
  uint32_t step;   /* that was running, or EQ_NO_STEP */
  uint32_t tensor; /* its first output */
  uint32_t pc, lr, xpsr;
  uint32_t cfsr, hfsr, bfar; /* 0 on cores that have none */
  uint32_t r0, r1, r2, r3, r12;
  uint32_t sp;
  uint32_t crc; /* of all before */
} eq_fault_record;
_Static_assert(sizeof(eq_fault_record) == 64, "fault record has padding");

/* What MEMORY answers; LINK.md. */
typedef struct eq_memory_use {
  uint32_t arena_bytes, arena_used; /* of the arena: reserved, and ever written to */
  uint32_t stack_bytes, stack_used;
  uint32_t runtime_bytes; /* state of the runtime: eq_model, eq_runner, eq_device, results of steps */
} eq_memory_use;

/* What a run leaves of a step. */
typedef struct eq_step_result {
  uint32_t count_low, count_high;
  uint32_t crc;
} eq_step_result;

/* What a run leaves; `valid` once there was one. */
typedef struct eq_run_result {
  uint64_t count;
  uint32_t run_id;
  uint32_t output_crc, output_bytes;
  uint32_t first_step, steps; /* that have results: device->steps[0] is that of first_step */
  bool valid;
} eq_run_result;

struct eq_link;
struct eq_frame;

typedef struct eq_device {
  /* Set before eq_link_init and left alone after; pointers may be NULL where "or NULL" says so. */
  const char *board; /* at most 24 characters of it are told */
  uint32_t cpuid, board_class, features, flags;
  uint32_t arena_bytes; /* capacity */
  uint32_t slot_bytes, page_bytes;
  uint32_t counter_hz;
  uint8_t counter_unit; /* eq_counter_unit */
  uint8_t firmware_version[3];
  void (*write)(const struct eq_device *device, const uint8_t *bytes, uint32_t n); /* returns when taken */
  uint64_t (*count)(const struct eq_device *device);                               /* never goes back */
  void (*memory)(const struct eq_device *device, eq_memory_use *use);
  void (*reboot)(const struct eq_device *device);      /* the reply is written already; may return */
  void (*alive)(const struct eq_device *device);       /* called before each step, for a watchdog; or NULL */
  void (*clear_fault)(const struct eq_device *device); /* forget what `fault` points to; or NULL */
  eq_log *log;
  /* Answers STATUS to REVERT: eq_slot_commands (link/slot_commands.h) with a store, NULL in firmware without one, where
   * the linker then drops the store. Returns a link status. */
  uint8_t (*slot_commands)(struct eq_device *device, struct eq_frame *frame);
  struct eq_store *store; /* or NULL */
  eq_step_result *steps;  /* step_capacity of them */
  uint32_t step_capacity;

  /* The model; without one runner is NULL and the rest 0. Its size, payload CRC and version are those that the header of
   * the file tells, as the host has it: the image that runs may lack metadata or hold the weights in another order. */
  const eq_runner *runner;
  uint32_t model_bytes, model_crc, model_version;
  uint8_t active_slot; /* or EQ_NO_SLOT */

  const eq_fault_record *fault; /* NULL: none stored, or cleared */

  /* What commands change; zero at the start but for step, which is EQ_NO_STEP. */
  volatile uint32_t step; /* that is running now, for a fault handler */
  eq_run_result result;
} eq_device;

/* Flags of RUN. */
#define EQ_RUN_CRCS 1
#define EQ_RUN_COUNTS 2

/* Run one inference on what is in the inputs and fill device->result but for its run_id. There must be a model. */
void eq_device_run(eq_device *device, uint32_t flags, uint32_t first_step);

/* Bytes of all inputs, or of all outputs, of the model. */
uint32_t eq_device_input_bytes(const eq_device *device);
uint32_t eq_device_output_bytes(const eq_device *device);

/* Copy into or out of the inputs or the outputs, which count as one block each: bytes [offset, offset + n) of it, as far as
 * they exist. */
void eq_device_write_input(const eq_device *device, uint32_t offset, const uint8_t *bytes, uint32_t n);
void eq_device_write_output(const eq_device *device, uint32_t offset, const uint8_t *bytes, uint32_t n);
void eq_device_read_output(const eq_device *device, uint32_t offset, uint8_t *bytes, uint32_t n);
void eq_device_read_input(const eq_device *device, uint32_t offset, uint8_t *bytes, uint32_t n);

/* CRC-32 of all inputs. */
uint32_t eq_device_input_crc(const eq_device *device);

#endif
