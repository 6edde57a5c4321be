/* SPDX-License-Identifier: Apache-2.0
 * The status codes of every function that can fail; permanent values. */
#ifndef EDGEQ_STATUS_H
#define EDGEQ_STATUS_H

typedef enum eq_status {
  EQ_OK = 0,
  EQ_ERR_MAGIC = -1,       /* not a model file */
  EQ_ERR_VERSION = -2,     /* a format version, flag or kernel ABI that this build does not know */
  EQ_ERR_TRUNCATED = -3,   /* the file is shorter or longer than its header says */
  EQ_ERR_HEADER = -4,      /* the header's own CRC or fields are wrong */
  EQ_ERR_SECTION = -5,     /* a section lies outside the file, is misaligned or overlaps another */
  EQ_ERR_TENSOR = -6,      /* a tensor's shape, dtype or place is wrong */
  EQ_ERR_STEP = -7,        /* a step's operands or parameters are wrong */
  EQ_ERR_ORDER = -8,       /* a step reads what no earlier step wrote, or what was overwritten */
  EQ_ERR_OP = -9,          /* a step whose code this build does not have */
  EQ_ERR_LAYOUT = -10,     /* weights stored for other kernels than this build's */
  EQ_ERR_PORT = -11,       /* a model input or output is wrong */
  EQ_ERR_PAYLOAD = -12,    /* the payload's CRC is wrong */
  EQ_ERR_ARENA = -13,      /* the caller's arena is too small or misaligned */
  EQ_ERR_ALIGNMENT = -14,  /* the caller's model bytes are not 16-byte aligned */
  EQ_ERR_ISA = -15,        /* this build or CPU has no kernels of the name asked for */
  EQ_ERR_FLASH = -16,      /* flash that cannot be erased or programmed, or reads otherwise than written */
  EQ_ERR_SLOT = -17,       /* a model larger than a slot */
  EQ_ERR_BOARD = -18,      /* a model made for another class of boards */
  EQ_ERR_WORK = -19,       /* a model with more multiply-accumulates than this device allows */
  EQ_ERR_SIGNATURE = -20,  /* a model that is not signed with this device's key */
  EQ_ERR_DOWNGRADE = -21,  /* a model older than the device accepts */
  EQ_ERR_TRIAL = -22,      /* the model on trial must be confirmed or reverted first */
  EQ_ERR_NO_UPDATE = -23,  /* no update was begun, or no model is there to confirm or revert */
  EQ_ERR_INCOMPLETE = -24, /* bytes of the update are missing */
  EQ_ERR_SELF_TEST = -25,  /* the model computes other integers than its file says */
} eq_status;

#endif
