/* Flushing translations that CPUs may have cached. */
#pragma once

#include "arch/arch.h"

struct cpu_block;

void tlb_flush_local(void); /* this CPU, global entries too; any context */

/*
 * tlb_flush_all -- on every running CPU; on return none has a stale translation.
 *   context  irq, locks held: it does not need the others' interrupts on
 */
void tlb_flush_all(void);

/* From the NMI handler: do a flush that another CPU asked for; false: none was due. */
bool tlb_flush_due(struct cpu_block *block);
