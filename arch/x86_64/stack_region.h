/* Where stacks that grow have their addresses; what arch.h has of them is in stack_region.c. */
#pragma once

#include "arch/arch.h"

#define STACK_REGION_BASE 0xffffd00000000000ull
#define STACK_REGION_END  0xffffe00000000000ull

static inline bool stack_region_has(uintptr_t addr)
{
    return addr - STACK_REGION_BASE < STACK_REGION_END - STACK_REGION_BASE;
}

/* Are these bytes in the region, and backed?  No more than a page of them.  Any context. */
bool stack_region_can_read(uintptr_t addr, size_t bytes);
