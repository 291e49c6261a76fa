/*
 * Clearing pages (arch/arch.h): rep stosb where the CPU reports it as enhanced (ERMS), else rep
 * stosq, which microcode does by whole lines on every CPU of this architecture.  Where QEMU
 * interprets the instructions (TCG), each element of a rep costs as much as an instruction: 4097 a
 * page by bytes, 513 by words.  So there it is rep stosq, whatever the feature bits say.
 */
#include <stdatomic.h>
#include "arch/arch.h"
#include "arch/x86_64/instr.h"

#define CPUID_VERSION        1u
#define CPUID_ECX_HYPERVISOR (1u << 31)
#define CPUID_FEATURES       7u
#define CPUID_EBX_ERMS       (1u << 9)
#define CPUID_HYPERVISOR     0x40000000u /* means something only where there is one */
#define HYPERVISOR_EBX_TCGT  0x54474354u /* "TCGT" of "TCGTCGTCGTCG" */

enum zero_way { ZERO_UNKNOWN, ZERO_WORDS, ZERO_BYTES };

static _Atomic unsigned zero_way; /* [A] relaxed; enum zero_way, the same whoever finds it out */

static COLD unsigned zero_find_way(void)
{
    bool has_hypervisor = (cpuid(CPUID_VERSION).ecx & CPUID_ECX_HYPERVISOR) != 0;
    bool is_interpreted = has_hypervisor && cpuid(CPUID_HYPERVISOR).ebx == HYPERVISOR_EBX_TCGT;
    bool has_erms = (cpuid(CPUID_FEATURES).ebx & CPUID_EBX_ERMS) != 0;
    unsigned way = has_erms && !is_interpreted ? ZERO_BYTES : ZERO_WORDS;

    atomic_store_explicit(&zero_way, way, memory_order_relaxed);
    return way;
}

void arch_zero_pages(void *addr, size_t pages)
{
    unsigned way = atomic_load_explicit(&zero_way, memory_order_relaxed);
    size_t bytes = pages * ARCH_PAGE_BYTES, words = bytes / sizeof(uint64_t);

    if (UNLIKELY(way == ZERO_UNKNOWN))
        way = zero_find_way();
    if (way == ZERO_BYTES)
        __asm__ volatile("rep stosb" : "+D"(addr), "+c"(bytes) : "a"(0) : "memory");
    else
        __asm__ volatile("rep stosq" : "+D"(addr), "+c"(words) : "a"(0ul) : "memory");
}
