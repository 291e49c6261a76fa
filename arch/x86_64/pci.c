/*
 * PCI configuration space by its two ports, which every PC has: an address, then the data.  A machine
 * without PCI reads as all ones.
 */
#include "arch/arch.h"
#include "arch/x86_64/instr.h"

#define PCI_PORT_ADDRESS 0xcf8
#define PCI_PORT_DATA    0xcfc
#define PCI_ENABLE       (1u << 31)

static void pci_address(unsigned function, unsigned offset)
{
    io_write32(PCI_PORT_ADDRESS, PCI_ENABLE | function << 8 | offset);
}

uint32_t arch_pci_read(unsigned function, unsigned offset)
{
    pci_address(function, offset);
    return io_read32(PCI_PORT_DATA);
}

void arch_pci_write(unsigned function, unsigned offset, uint32_t value)
{
    pci_address(function, offset);
    io_write32(PCI_PORT_DATA, value);
}
