/* When a large object begins to be one. */
#pragma once

#include "mm/span/span.h"

#define SPAN_LARGE_OUT 1u /* of span->list, which a large object's span has no other use for */

/*
 * span_large_hand_out -- the span of a new large object becomes its user's: returns the object.
 * Whoever stops this CPU between any two instructions finds either an object that is not out, or
 * one whose address is in a register.
 */
static inline void *span_large_hand_out(struct span *span)
{
    void *object = (void *)span->base;

    __asm__ volatile("" : "+r"(object) : : "memory");
    __atomic_store_n(&span->list, SPAN_LARGE_OUT, __ATOMIC_RELAXED);
    __asm__ volatile("" : "+r"(object) : : "memory");
    return object;
}

/* And ceases to be; false: it is out no more, so of two CPUs that free it at once one is told. */
static inline bool span_large_take_back(struct span *span)
{
    return __atomic_exchange_n(&span->list, 0, __ATOMIC_ACQ_REL) == SPAN_LARGE_OUT;
}

static inline bool span_large_is_out(const struct span *span)
{
    return __atomic_load_n(&span->list, __ATOMIC_RELAXED) == SPAN_LARGE_OUT;
}
