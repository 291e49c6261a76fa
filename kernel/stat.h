/*
 * Event counters by layer, per CPU, for slow paths.  STAT(page, alloc_failed) at file scope
 * defines one; stat_inc(page, alloc_failed) counts.  The monitor's `stats` prints them all.
 */
#pragma once

#include "kernel/percpu.h"

struct stat {
    const char *layer;
    const char *name;
    uint64_t *value; /* percpu */
};

#define STAT(layer_, name_)                                                                  \
    static PERCPU(uint64_t, stat_##layer_##_##name_);                                        \
    static const struct stat stat_desc_##layer_##_##name_ = {#layer_, #name_,                \
                                                             &stat_##layer_##_##name_};      \
    static const struct stat *const stat_ptr_##layer_##_##name_ USED SECTION("stat_table") = \
        &stat_desc_##layer_##_##name_

/* A count may be lost when an interrupt hits between load and store on a port without add-to-memory;
 * callers that must be exact hold interrupts off. */
#define stat_add(layer_, name_, n) (*this_cpu(stat_##layer_##_##name_) += (n))
#define stat_inc(layer_, name_)    stat_add(layer_, name_, 1)

uint64_t stat_read(const struct stat *stat);                       /* sum over CPUs; any context */
const struct stat *stat_find(const char *layer, const char *name); /* NULL: none */
const struct stat *stat_next(
    const struct stat *stat); /* by layer, then name; NULL: from the first */
