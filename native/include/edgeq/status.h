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
} eq_status;

#endif
