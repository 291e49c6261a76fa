/* The few instructions that both ways in need: CPUID, ports, control registers. */
#pragma once

#include "kernel/base/base.h"

/* QEMU's isa-debug-exit: writing v ends QEMU with status 2 v + 1. */
#define BOOT_EXIT_PORT 0xf4
#define BOOT_EXIT_FAIL 1

#define BOOT_CPUID_EXT_MAX      0x80000000u
#define BOOT_CPUID_EXT          0x80000001u
#define BOOT_CPUID_EDX_NX       (1u << 20)
#define BOOT_CPUID_EDX_GIB_PAGE (1u << 26)

#define BOOT_CR4_LA57 (1ul << 12)

static inline void boot_out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t boot_in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline unsigned long boot_read_cr4(void)
{
    unsigned long value;

    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}

/* EDX of extended CPUID leaf 0x80000001; 0 where the CPU does not have that leaf. */
static inline uint32_t boot_cpuid_ext_edx(void)
{
    uint32_t a = BOOT_CPUID_EXT_MAX, b, c, d;

    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    if (a < BOOT_CPUID_EXT)
        return 0;
    a = BOOT_CPUID_EXT;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return d;
}
