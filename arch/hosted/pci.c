/* A process has no PCI. */
#include "arch/arch.h"

uint32_t arch_pci_read(unsigned function, unsigned offset)
{
    (void)function, (void)offset;
    return UINT32_MAX;
}

void arch_pci_write(unsigned function, unsigned offset, uint32_t value)
{
    (void)function, (void)offset, (void)value;
}
