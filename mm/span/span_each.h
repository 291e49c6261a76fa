/* Every span there is, found by the table; for whoever has stopped all that makes or destroys any. */
#pragma once

#include "mm/span/span.h"

/*
 * span_each_in_chunk, span_each -- call fn once for every span that begins in a chunk, or at all,
 * by address.
 *   context  irq; nobody else creates or destroys spans, nor does fn
 */
void span_each_in_chunk(size_t chunk, void (*fn)(struct span *span, void *arg), void *arg);
void span_each(void (*fn)(struct span *span, void *arg), void *arg);
