/*
 * What mm/ is told on the command line; constant from mm_init on.  A part of mm/port.h, which another
 * kernel writes anew.
 */
#pragma once

#include "kernel/cmdline.h"

#define PORT_SETTING_AUTO SETTING_AUTO /* of those in bytes: as mm/ sees fit */

static inline uint64_t port_setting_dmareserve(void) /* bytes kept for devices below 16 MiB */
{
    return settings.dmareserve_bytes;
}

static inline uint64_t port_setting_reserve(void) /* bytes kept for PAGE_RESERVE */
{
    return settings.reserve_bytes;
}

static inline uint64_t port_setting_zeroahead(void) /* bytes that idle CPUs zero ahead */
{
    return settings.zeroahead_bytes;
}

static inline bool port_setting_page_poison(void)
{
    return settings.page_poison;
}

static inline bool port_setting_slab_random(void)
{
    return settings.slab_random;
}

static inline uint64_t port_setting_seed(void)
{
    return settings.seed;
}

static inline unsigned port_setting_gogc(void) /* 0: off */
{
    return settings.gogc;
}

static inline bool port_setting_gccheckmark(void)
{
    return settings.gccheckmark != 0;
}

static inline bool port_setting_clobberfree(void)
{
    return settings.clobberfree != 0;
}

static inline unsigned port_setting_gctrace(void)
{
    return settings.gctrace;
}

static inline unsigned port_setting_gcassist(void) /* microseconds of one assist, at most */
{
    return settings.gcassist_us;
}

static inline uint64_t port_setting_gcminheap(void) /* bytes: the lowest goal at gogc=100 */
{
    return settings.gcminheap_bytes;
}

static inline uint64_t port_setting_memlimit(void) /* bytes; 0: none */
{
    return settings.memlimit_bytes;
}

static inline unsigned port_setting_gcstoptheworld(void)
{
    return settings.gcstoptheworld;
}

static inline bool port_setting_page_owner(void)
{
    return settings.page_owner;
}

static inline uint64_t port_setting_quarantine(void) /* bytes of freed objects that wait */
{
    return settings.quarantine_bytes;
}

/*
 * Is the check `letter` (mm/slab/debug.h) on for the kmem_cache or size class of that name?  NULL:
 * for any.
 */
static inline bool port_setting_slab_debug(char letter, const char *name)
{
    return slab_setting_has(settings.slab_debug, letter, name);
}

static inline uint64_t port_setting_guard_rate(void) /* one allocation in so many; 0: off */
{
    return settings.guard_rate;
}

static inline uint64_t port_setting_guard_seed(void) /* 0: as the machine's clock has it */
{
    return settings.guard_seed;
}
