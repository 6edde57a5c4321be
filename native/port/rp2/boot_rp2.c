/* SPDX-License-Identifier: Apache-2.0
 * What the ROM looks for at the start of flash: RP2040's second boot stage, RP2350's image definition. */
#if EQ_PORT_FAMILY == 2040
/* The ROM runs these 252 bytes in RAM when their CRC-32, which the build puts after them, is right (RP2040 datasheet,
 * 2.8.1.3.1). They let flash be read in place by the serial command 03h, which every chip knows, at a quarter of the core's clock
 * (4.10.8 for the interface's registers), and start the program whose vectors follow. */
__asm__(
    ".section .boot, \"ax\"\n"
    ".thumb\n"
    ".syntax unified\n"
    "  ldr r3, 1f\n" /* SSI */
    "  movs r0, #0\n"
    "  str r0, [r3, #8]\n" /* SSIENR: off */
    "  movs r1, #4\n"
    "  str r1, [r3, #0x14]\n" /* BAUDR */
    "  ldr r1, 2f\n"
    "  str r1, [r3, #0]\n" /* CTRLR0 */
    "  str r0, [r3, #4]\n" /* CTRLR1: one word at a time */
    "  ldr r1, 3f\n"
    "  movs r2, #0xF4\n"
    "  str r1, [r3, r2]\n" /* SPI_CTRLR0 */
    "  movs r1, #1\n"
    "  str r1, [r3, #8]\n"
    "  ldr r0, 4f\n"
    "  ldr r1, 5f\n"
    "  str r0, [r1]\n"
    "  ldmia r0, {r0, r1}\n"
    "  msr msp, r0\n"
    "  bx r1\n"
    ".balign 4\n"
    "1: .word 0x18000000\n"
    "2: .word 31 << 16 | 3 << 8\n"         /* frames of 32 bits; command and address go out, then data come in */
    "3: .word 0x03 << 24 | 2 << 8 | 6 << 2\n" /* the command has 8 bits, the address 24 */
    "4: .word 0x10000100\n"                /* the vectors */
    "5: .word 0xE000ED08\n"                /* VTOR */
    ".org 252, 0xFF\n"
    ".word 0\n"
    ".previous\n");
#else
/* The smallest block loop that makes flash an Arm program (RP2350 datasheet, 5.9.5.1); the vectors are at its start. */
__attribute__((section(".image_definition"), used)) static const unsigned int image_definition[] = {
    0xFFFFDED3, /* begin */
    0x10210142, /* IMAGE_TYPE: executable, secure, Arm, RP2350 */
    0x000001FF, /* LAST: one word of items */
    0x00000000, /* the next block is this one */
    0xAB123579, /* end */
};
#endif
