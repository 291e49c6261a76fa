/* The collector's threads. */
#pragma once

#include "kernel/base/base.h"

void gc_threads_start(
    void); /* once, when all CPUs run; collected objects may be asked for earlier */
