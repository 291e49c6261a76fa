/*
 * PCI configuration space: find a function, walk its capabilities, read and write registers.
 * Reading gives all ones where there is nothing, a machine without PCI included.
 */
#pragma once

#include "kernel/base/base.h"

/* One function of a device: bus << 8 | device << 3 | function. */
typedef unsigned pci_function;

#define PCI_NONE UINT32_MAX

/*
 * pci_find -- the first function with this vendor whose device number is one of two.
 *   returns  PCI_NONE when there is none on bus 0 and what firmware has put behind its bridges
 *   context  irq; some thousand register accesses
 */
pci_function pci_find(uint16_t vendor, uint16_t device, uint16_t other_device);

/* One aligned register of 32 bits at a byte offset below 256; irq. */
uint32_t pci_read(pci_function function, unsigned offset);
void pci_write(pci_function function, unsigned offset, uint32_t value);

/* The next capability with this number behind `after` (0: the first); its offset, 0: no more. */
unsigned pci_capability(pci_function function, uint8_t id, unsigned after);

void pci_let_master(pci_function function); /* it may read and write memory from here on */
