/* Memory that is the slab allocator's own and that refers to objects without owning them. */
#pragma once

#include "kernel/base/base.h"

/*
 * slab_each_own -- call fn for each piece of it, [start, end): magazines, the words of whose unused
 * part are addresses of objects in use; centrals; pages of kmem_caches.  Whoever looks for what
 * refers to an object passes over these.
 *   context  irq; exact when nothing else runs
 */
void slab_each_own(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg);
