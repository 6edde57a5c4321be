/* SPDX-License-Identifier: Apache-2.0
 * One kernel table per ISA, and the choice between them. */
#include "kernels/kernels.h"

#define EQ_KERNEL(name, isa) eq_##name##_fn eq_##name##_##isa;
#include "kernels/scalar/kernels.inc"
#undef EQ_KERNEL

#define EQ_KERNEL(name, isa) .name = eq_##name##_##isa,
static const eq_kernels scalar_table = {
    .isa = "scalar",
#include "kernels/scalar/kernels.inc"
};
#undef EQ_KERNEL

static const eq_kernels *const tables[] = {&scalar_table}; /* slowest first */

static int same_name(const char *a, const char *b) {
  while (*a != '\0' && *a == *b) {
    a++;
    b++;
  }
  return *a == *b;
}

const eq_kernels *eq_kernels_select(const char *forced_isa) {
  const size_t count = sizeof tables / sizeof tables[0];
  if (forced_isa == NULL) return tables[count - 1];
  for (size_t i = 0; i < count; i++) {
    if (same_name(tables[i]->isa, forced_isa)) return tables[i];
  }
  return NULL;
}
