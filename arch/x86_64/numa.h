/* Which node each CPU is on (arch.h has the rest). */
#pragma once

#include "arch/arch.h"

void numa_place_cpus(void); /* once the MADT has given all CPUs their APIC ids; boot CPU */
