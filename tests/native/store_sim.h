/* SPDX-License-Identifier: Apache-2.0
 * Cells of simulated flash that may read unsteadily; the store is compiled to read through them. */
#ifndef STORE_SIM_H
#define STORE_SIM_H

#include <stdint.h>

extern uint32_t sim_unsteady_at; /* offset of the cell that falters, UINT32_MAX: none */
uint8_t sim_falter(void);        /* bits of it that read wrong this time */

static inline uint8_t sim_cell(const volatile uint8_t *cells, uint32_t offset) {
  return offset == sim_unsteady_at ? (uint8_t)(cells[offset] ^ sim_falter()) : cells[offset];
}
#define EQ_STORE_CELL(flash, offset) sim_cell((flash)->base, offset)

#endif
