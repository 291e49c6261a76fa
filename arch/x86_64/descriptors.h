/* Descriptor tables and control registers. */
#pragma once

#include "arch/x86_64/cpu_block.h"

void descriptors_init(void); /* fill the IDT; boot CPU, once */

/* Load this CPU's GDT, TSS and IDT and point GS at its block; its stacks exist. */
void descriptors_load(struct cpu_block *block);

void cpu_protect(void); /* CR0.WP, no-execute, and SMEP, SMAP, UMIP, PGE where this CPU has them */
