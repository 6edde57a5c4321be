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
#elif defined(__ARM_FEATURE_MVE)
#include "kernels/mve/kernels.inc"
#elif defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'
#include "kernels/dsp/kernels.inc"
#elif defined(__arm__) && defined(__ARM_FEATURE_SIMD32)
#include "kernels/v6/kernels.inc"
#elif defined(__ARM_ARCH_7M__)
#include "kernels/thumb2/kernels.inc"
#elif defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#include "kernels/thumb/kernels.inc"
#endif
#undef EQ_KERNEL

#define EQ_KERNEL(name, isa) .name = eq_##name##_##isa,

/* A build for CPUs that are all known to have an ISA may name it, e.g. -DEQ_ONLY_ISA=neon: there is then one table, and
 * the linker can drop the kernels of the others. Nothing can be selected on a CPU without that ISA. */
#if defined(EQ_ONLY_ISA)
#define EQ_UNUSED __attribute__((unused))
#else
#define EQ_UNUSED
#endif

/* Begins the table of an ISA whose products read weights in a layout; its kernels follow. */
#define EQ_TABLE(name, weights) \
  static const EQ_UNUSED eq_kernels name##_table = {.isa = #name, .layout = EQ_LAYOUT_##weights,

EQ_TABLE(scalar, PORTABLE)
#include "kernels/scalar/kernels.inc"
};

#if defined(__aarch64__)
EQ_TABLE(neon, C4K16)
#include "kernels/scalar/kernels.inc"
#include "kernels/neon/kernels.inc"
};
EQ_TABLE(dotprod, C8K4)
#include "kernels/scalar/kernels.inc"
#include "kernels/neon/kernels.inc"
#include "kernels/dotprod/kernels.inc"
};
EQ_TABLE(i8mm, C8K8)
#include "kernels/scalar/kernels.inc"
#include "kernels/neon/kernels.inc"
#include "kernels/dotprod/kernels.inc"
#include "kernels/i8mm/kernels.inc"
};
#elif defined(__x86_64__)
EQ_TABLE(avx2, C8K4)
#include "kernels/scalar/kernels.inc"
#include "kernels/avx2/kernels.inc"
};
EQ_TABLE(vnni, C16K4)
#include "kernels/scalar/kernels.inc"
#include "kernels/avx2/kernels.inc"
#include "kernels/vnni/kernels.inc"
};
#elif defined(__arm__) && defined(__ARM_NEON)
EQ_TABLE(neon32, C4K16)
#include "kernels/scalar/kernels.inc"
#include "kernels/neon32/kernels.inc"
};
#elif defined(__ARM_FEATURE_MVE)
EQ_TABLE(mve, C4K16)
#include "kernels/scalar/kernels.inc"
#include "kernels/mve/kernels.inc"
};
#elif defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'
EQ_TABLE(dsp, C2K4)
#include "kernels/scalar/kernels.inc"
#include "kernels/dsp/kernels.inc"
};
#elif defined(__arm__) && defined(__ARM_FEATURE_SIMD32)
EQ_TABLE(v6, PORTABLE)
#include "kernels/scalar/kernels.inc"
#include "kernels/v6/kernels.inc"
};
#elif defined(__ARM_ARCH_7M__)
EQ_TABLE(thumb2, PORTABLE)
#include "kernels/scalar/kernels.inc"
#include "kernels/thumb2/kernels.inc"
};
#elif defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
EQ_TABLE(thumb, PORTABLE)
#include "kernels/scalar/kernels.inc"
#include "kernels/thumb/kernels.inc"
};
#endif

/* The CPU features that each table needs. */
enum {
  scalar_needs = 0,
  neon_needs = 0,
  dotprod_needs = EQ_CPU_DOTPROD,
  i8mm_needs = EQ_CPU_DOTPROD | EQ_CPU_I8MM,
  avx2_needs = EQ_CPU_AVX2,
  vnni_needs = EQ_CPU_AVX2 | EQ_CPU_VNNI,
  neon32_needs = 0,
  mve_needs = 0,
  dsp_needs = 0,
  v6_needs = 0,
  thumb2_needs = 0,
  thumb_needs = 0,
};

#define EQ_ENTRY(isa) {&isa##_table, isa##_needs},
#define EQ_ENTRY_OF(isa) EQ_ENTRY(isa)

/* The tables of this build, slowest first. */
static const struct {
  const eq_kernels *table;
  uint32_t needs;
} tables[] = {
#if defined(EQ_ONLY_ISA)
    EQ_ENTRY_OF(EQ_ONLY_ISA)
#else
    EQ_ENTRY(scalar)
#if defined(__aarch64__)
    EQ_ENTRY(neon)
    EQ_ENTRY(dotprod)
    EQ_ENTRY(i8mm)
#elif defined(__x86_64__)
    EQ_ENTRY(avx2)
    EQ_ENTRY(vnni)
#elif defined(__arm__) && defined(__ARM_NEON)
    EQ_ENTRY(neon32)
#elif defined(__ARM_FEATURE_MVE)
    EQ_ENTRY(mve)
#elif defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'
    EQ_ENTRY(dsp)
#elif defined(__arm__) && defined(__ARM_FEATURE_SIMD32)
    EQ_ENTRY(v6)
#elif defined(__ARM_ARCH_7M__)
    EQ_ENTRY(thumb2)
#elif defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
    EQ_ENTRY(thumb)
#endif
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
