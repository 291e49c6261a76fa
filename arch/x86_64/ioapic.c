/*
 * The IO-APICs: a window of two registers each, through which a table of inputs is reached.  Boot
 * CPU only, at start-up.
 *
 * Source: Intel 82093AA datasheet.
 */
#include "arch/x86_64/ioapic.h"
#include "arch/x86_64/instr.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/window.h"

#define PIC1_COMMAND 0x20
#define PIC1_DATA    0x21
#define PIC2_COMMAND 0xa0
#define PIC2_DATA    0xa1

#define IOAPIC_VERSION   1u
#define IOAPIC_INPUT(n)  (0x10u + 2 * (n)) /* low word; the high one follows */
#define INPUT_ACTIVE_LOW (1u << 13)
#define INPUT_LEVEL      (1u << 15)
#define INPUT_MASKED     (1u << 16)

static struct ioapic {
    volatile uint32_t *registers; /* [0] selects, [4] is the register selected */
    uint32_t gsi_base, gsi_count;
} ioapics[IOAPIC_MAX];
static unsigned ioapic_count;

static uint32_t ioapic_read(const struct ioapic *ioapic, uint32_t reg)
{
    ioapic->registers[0] = reg;
    return ioapic->registers[4];
}

static void ioapic_write(const struct ioapic *ioapic, uint32_t reg, uint32_t value)
{
    ioapic->registers[0] = reg;
    ioapic->registers[4] = value;
}

void pic_disable(void)
{
    /* Initialise, vectors, wiring, 8086 mode; then mask all. */
    static const uint8_t words[2][4] = {{0x11, VECTOR_FIRST_IRQ, 4, 1},
                                        {0x11, VECTOR_FIRST_IRQ + 8, 2, 1}};

    io_write8(PIC1_COMMAND, words[0][0]);
    io_write8(PIC2_COMMAND, words[1][0]);
    for (unsigned i = 1; i < 4; i++) {
        io_write8(PIC1_DATA, words[0][i]);
        io_write8(PIC2_DATA, words[1][i]);
    }
    io_write8(PIC1_DATA, 0xff);
    io_write8(PIC2_DATA, 0xff);
}

bool ioapic_add(uint64_t physical, uint32_t gsi_base)
{
    if (ioapic_count == IOAPIC_MAX)
        return false;

    struct ioapic *ioapic = &ioapics[ioapic_count];

    ioapic->registers = window_map_device(physical, 0x20);
    uint32_t version = ioapic_read(ioapic, IOAPIC_VERSION);
    if (version == UINT32_MAX) /* nothing answers */
        return false;

    ioapic->gsi_base = gsi_base;
    ioapic->gsi_count = (version >> 16 & 0xff) + 1;
    ioapic_count++;
    for (uint32_t i = 0; i < ioapic->gsi_count; i++)
        ioapic_write(ioapic, IOAPIC_INPUT(i), INPUT_MASKED);
    return true;
}

bool ioapic_route(uint32_t gsi, unsigned vector, uint32_t apic_id, bool is_level, bool is_low)
{
    for (unsigned i = 0; i < ioapic_count; i++) {
        const struct ioapic *ioapic = &ioapics[i];

        if (gsi - ioapic->gsi_base >= ioapic->gsi_count)
            continue;

        uint32_t input = IOAPIC_INPUT(gsi - ioapic->gsi_base);

        ioapic_write(ioapic, input + 1, apic_id << 24);
        ioapic_write(ioapic, input,
                     vector | (is_level ? INPUT_LEVEL : 0) | (is_low ? INPUT_ACTIVE_LOW : 0));
        return true;
    }
    return false;
}
