/* SPDX-License-Identifier: Apache-2.0
 * Registers that every Cortex-M has (Armv6-M, Armv7-M and Armv8-M Architecture Reference Manuals, system address map). */
#ifndef EDGEQ_CORTEX_M_H
#define EDGEQ_CORTEX_M_H

#include <stdint.h>

#define EQ_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define EQ_SYST_CSR EQ_REGISTER(0xE000E010u)
#define EQ_SYST_RVR EQ_REGISTER(0xE000E014u)
#define EQ_SYST_CVR EQ_REGISTER(0xE000E018u)
#define EQ_NVIC_ISER(i) EQ_REGISTER(0xE000E100u + 4u * (i))
#define EQ_SCB_CPUID EQ_REGISTER(0xE000ED00u)
#define EQ_SCB_ICSR EQ_REGISTER(0xE000ED04u)
#define EQ_SCB_VTOR EQ_REGISTER(0xE000ED08u)
#define EQ_SCB_AIRCR EQ_REGISTER(0xE000ED0Cu)
#define EQ_SCB_CFSR EQ_REGISTER(0xE000ED28u)
#define EQ_SCB_HFSR EQ_REGISTER(0xE000ED2Cu)
#define EQ_SCB_BFAR EQ_REGISTER(0xE000ED38u)
#define EQ_DCB_DEMCR EQ_REGISTER(0xE000EDFCu)
#define EQ_DWT_CTRL EQ_REGISTER(0xE0001000u)
#define EQ_DWT_CYCCNT EQ_REGISTER(0xE0001004u)
#define EQ_DWT_LAR EQ_REGISTER(0xE0001FB0u)

#define EQ_ICSR_PENDSTSET (1u << 26)
#define EQ_AIRCR_RESET 0x05FA0004u /* VECTKEY and SYSRESETREQ */
#define EQ_DEMCR_TRCENA (1u << 24)
#define EQ_LAR_KEY 0xC5ACCE55u

static inline void eq_interrupts_off(void) { __asm__ volatile("cpsid i" ::: "memory"); }
static inline void eq_interrupts_on(void) { __asm__ volatile("cpsie i" ::: "memory"); }
static inline void eq_barrier(void) { __asm__ volatile("dsb\n isb" ::: "memory"); }

#endif
