/* SPDX-License-Identifier: Apache-2.0
 * One kernel table per ISA, and the choice between them. */
#include "edgeq/format.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"

/* A table is built from the lists of the ISAs that it builds on; later entries of an initializer win. */
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Woverride-init"
#if defined(__clang__)
#pragma clang diagnostic ignored "-Winitializer-overrides"
#endif
#endif

#define EQ_KERNEL(name, isa) eq_##name##_fn eq_##name##_##isa;
#include "kernels/scalar/kernels.inc"
#if defined(__aarch64__)
#include "kernels/dotprod/kernels.inc"
#include "kernels/i8mm/kernels.inc"
#include "kernels/neon/kernels.inc"
#elif defined(__x86_64__)
#include "kernels/avx2/kernels.inc"
#include "kernels/vnni/kernels.inc"
#elif defined(__arm__) && defined(__ARM_NEON)
#include "kernels/neon32/kernels.inc"
#elif defined(__arm__) && defined(__ARM_FEATURE_SIMD32)
#include "kernels/v6/kernels.inc"
#endif
#undef EQ_KERNEL

#define EQ_KERNEL(name, isa) .name = eq_##name##_##isa,

static const eq_kernels scalar_table = {
    .isa = "scalar",
    .layout = EQ_LAYOUT_PORTABLE,
#include "kernels/scalar/kernels.inc"
};

#if defined(__aarch64__)
static const eq_kernels neon_table = {
    .isa = "neon",
    .layout = EQ_LAYOUT_C4K16,
#include "kernels/scalar/kernels.inc"
#include "kernels/neon/kernels.inc"
};
static const eq_kernels dotprod_table = {
    .isa = "dotprod",
    .layout = EQ_LAYOUT_C8K4,
#include "kernels/scalar/kernels.inc"
#include "kernels/neon/kernels.inc"
#include "kernels/dotprod/kernels.inc"
};
static const eq_kernels i8mm_table = {
    .isa = "i8mm",
    .layout = EQ_LAYOUT_C8K8,
#include "kernels/scalar/kernels.inc"
#include "kernels/neon/kernels.inc"
#include "kernels/dotprod/kernels.inc"
#include "kernels/i8mm/kernels.inc"
};
#elif defined(__x86_64__)
static const eq_kernels avx2_table = {
    .isa = "avx2",
    .layout = EQ_LAYOUT_C8K4,
#include "kernels/scalar/kernels.inc"
#include "kernels/avx2/kernels.inc"
};
static const eq_kernels vnni_table = {
    .isa = "vnni",
    .layout = EQ_LAYOUT_C16K4,
#include "kernels/scalar/kernels.inc"
#include "kernels/avx2/kernels.inc"
#include "kernels/vnni/kernels.inc"
};
#elif defined(__arm__) && defined(__ARM_NEON)
static const eq_kernels neon32_table = {
    .isa = "neon32",
    .layout = EQ_LAYOUT_C4K16,
#include "kernels/scalar/kernels.inc"
#include "kernels/neon32/kernels.inc"
};
#elif defined(__arm__) && defined(__ARM_FEATURE_SIMD32)
static const eq_kernels v6_table = {
    .isa = "v6",
    .layout = EQ_LAYOUT_PORTABLE,
#include "kernels/scalar/kernels.inc"
#include "kernels/v6/kernels.inc"
};
#endif

/* The tables of this build, slowest first, and the CPU features that each needs. */
static const struct {
  const eq_kernels *table;
  uint32_t needs;
} tables[] = {
    {&scalar_table, 0},
#if defined(__aarch64__)
    {&neon_table, 0},
    {&dotprod_table, EQ_CPU_DOTPROD},
    {&i8mm_table, EQ_CPU_DOTPROD | EQ_CPU_I8MM},
#elif defined(__x86_64__)
    {&avx2_table, EQ_CPU_AVX2},
    {&vnni_table, EQ_CPU_AVX2 | EQ_CPU_VNNI},
#elif defined(__arm__) && defined(__ARM_NEON)
    {&neon32_table, 0},
#elif defined(__arm__) && defined(__ARM_FEATURE_SIMD32)
    {&v6_table, 0},
#endif
};

enum { N_TABLES = sizeof tables / sizeof tables[0] };

const eq_kernels *eq_kernels_at(uint32_t i) {
  const uint32_t features = eq_cpu_features();
  for (uint32_t t = 0; t < N_TABLES; t++) {
    if ((tables[t].needs & ~features) == 0 && i-- == 0) return tables[t].table;
  }
  return NULL;
}

static int same_name(const char *a, const char *b) {
  while (*a != '\0' && *a == *b) {
    a++;
    b++;
  }
  return *a == *b;
}

const eq_kernels *eq_kernels_select(const char *forced_isa) {
  const eq_kernels *chosen = NULL;
  const eq_kernels *table;
  for (uint32_t i = 0; (table = eq_kernels_at(i)) != NULL; i++) {
    if (forced_isa == NULL || same_name(table->isa, forced_isa)) chosen = table;
  }
  return chosen;
}

const eq_kernels *eq_kernels_for_layout(uint32_t layout) {
  const eq_kernels *chosen = NULL;
  const eq_kernels *table;
  for (uint32_t i = 0; (table = eq_kernels_at(i)) != NULL; i++) {
    if (table->layout == layout) chosen = table;
  }
  return chosen;
}
