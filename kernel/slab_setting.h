/*
 * slab_debug=CHECKS[,NAME...]: what the slab allocator checks, and of which caches.
 *
 *     CHECKS   letters in a row (rp), words with + between them (redzone+poison), or both;
 *              1 or all: all of them; 0: none
 *     NAME     a kmem_cache or a size class (kmalloc-64), as a glob; without one, all of them
 *
 *     r redzone   p poison   q quarantine   t trace   s sites
 *
 * What each does stands in mm/slab/debug.h.  No state; any context.
 */
#pragma once

#include "kernel/base/base.h"

#define SLAB_SETTING_BYTES 64 /* of a value, the NUL included */

/* True for what slab_debug= may be set to. */
bool slab_setting_is_valid(const char *text);

/*
 * slab_setting_has -- does a setting turn a check on?
 *   text    valid, or "": none
 *   letter  the check's
 *   name    of a cache or class; NULL: of any
 */
bool slab_setting_has(const char *text, char letter, const char *name);
