/* The local APIC of each CPU, as xAPIC or x2APIC: end of interrupt, IPIs, the tick. */
#pragma once

#include "arch/arch.h"

void lapic_init(void);     /* boot CPU, once: xAPIC or x2APIC, and this CPU's switched on */
void lapic_cpu_init(void); /* another CPU: switch its own on, all its sources masked */

bool lapic_is_x2apic(void);
uint32_t lapic_id(void); /* this CPU's APIC id */
void lapic_eoi(void);    /* the interrupt being handled is done */

void lapic_send_ipi(uint32_t apic_id, unsigned vector); /* any context; nothing before lapic_init */
void lapic_send_nmi(uint32_t apic_id);                  /* likewise */
void lapic_send_init(uint32_t apic_id);
void lapic_send_startup(uint32_t apic_id, uint64_t page); /* run real-mode code at `page` */

/* The destination that an NMI may find half written: save on its entry, restore on its exit. */
uint32_t lapic_destination_save(void);
void lapic_destination_restore(uint32_t destination);

/* For the clock's calibration: let the timer run down from 2^32 - 1, masked; read it. */
void lapic_timer_free_run(void);
uint32_t lapic_timer_read(void);
void lapic_timer_calibrated(uint64_t hz);

void lapic_tick(void); /* the timer's interrupt: count, arm the next */
