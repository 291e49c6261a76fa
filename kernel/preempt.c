/* The count of kernel/preempt.h. */
#include "kernel/preempt.h"

PERCPU(struct preempt, preempt);
