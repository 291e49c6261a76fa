/*
 * PCI configuration space (kernel/pci.h).
 *
 * Idea: buses are searched by number, from 0 to the highest that a bridge found so far says to lie
 * behind it.  So a machine with one bus costs 32 reads of empty slots, and no bus is visited twice.
 *
 * Locks: PCI, around each access: a port's registers may be an address and a data register.
 *
 * Not here: addresses.  Firmware may have given a function's memory none, and what of the address
 * space is free to give stands in ACPI's byte code.  A virtio device does without (kernel/virtio.c).
 *
 * Source: PCI Local Bus Specification 3.0, chapter 6.
 */
#include "kernel/pci.h"
#include "arch/arch.h"
#include "kernel/lock.h"

#define PCI_SLOTS     32u /* devices on a bus */
#define PCI_FUNCTIONS 8u  /* of a device */
#define PCI_BUSES     256u

#define PCI_ID           0x00 /* vendor, device */
#define PCI_COMMAND      0x04 /* command, status */
#define PCI_HEADER       0x0c /* header type in bits 16 .. 23 */
#define PCI_BRIDGE_BUSES 0x18 /* primary, secondary, highest behind */
#define PCI_CAPABILITIES 0x34 /* offset of the first */

#define PCI_COMMAND_MASTER      (1u << 2)
#define PCI_STATUS_CAPABILITIES (1u << 20)
#define PCI_HEADER_BRIDGE       (1u << 16)
#define PCI_HEADER_MANY         (1u << 23)

#define PCI_CAPABILITIES_MAX 48u /* 192 bytes of 4 or more each: a longer list is a loop */

static struct spinlock pci = SPINLOCK_INIT(PCI);

uint32_t pci_read(pci_function function, unsigned offset)
{
    unsigned long irq_state = spin_lock(&pci);
    uint32_t value = arch_pci_read(function, offset);

    spin_unlock(&pci, irq_state);
    return value;
}

void pci_write(pci_function function, unsigned offset, uint32_t value)
{
    unsigned long irq_state = spin_lock(&pci);

    arch_pci_write(function, offset, value);
    spin_unlock(&pci, irq_state);
}

pci_function pci_find(uint16_t vendor, uint16_t device, uint16_t other_device)
{
    unsigned buses = 1;

    for (pci_function slot = 0; slot < buses * PCI_SLOTS * PCI_FUNCTIONS; slot += PCI_FUNCTIONS) {
        unsigned functions = 1;

        for (pci_function at = slot; at < slot + functions; at++) {
            uint32_t id = pci_read(at, PCI_ID);

            if (id == UINT32_MAX)
                continue;
            if (id == ((uint32_t)device << 16 | vendor) ||
                id == ((uint32_t)other_device << 16 | vendor))
                return at;

            uint32_t header = pci_read(at, PCI_HEADER);

            if (header & PCI_HEADER_MANY)
                functions = PCI_FUNCTIONS;
            if (header & PCI_HEADER_BRIDGE)
                buses = MAX(buses, (pci_read(at, PCI_BRIDGE_BUSES) >> 16 & 0xff) + 1);
        }
    }
    return PCI_NONE;
}

unsigned pci_capability(pci_function function, uint8_t id, unsigned after)
{
    uint32_t entry;
    unsigned at = PCI_CAPABILITIES;

    if (!(pci_read(function, PCI_COMMAND) & PCI_STATUS_CAPABILITIES))
        return 0;
    at = after == 0 ? pci_read(function, PCI_CAPABILITIES) & 0xfc
                    : pci_read(function, after) >> 8 & 0xfc;
    for (unsigned i = 0; at != 0 && i < PCI_CAPABILITIES_MAX; i++) {
        entry = pci_read(function, at);
        if ((entry & 0xff) == id)
            return at;
        at = entry >> 8 & 0xfc;
    }
    return 0;
}

void pci_let_master(pci_function function)
{
    uint32_t command = pci_read(function, PCI_COMMAND) & 0xffff; /* status bits: 0 clears none */

    pci_write(function, PCI_COMMAND, command | PCI_COMMAND_MASTER);
}
