/*
 * Ending the machine.
 *
 * ACPI's soft-off is a write of a sleep type to the PM1a control register.  The type stands in the
 * object \_S5, a package in the DSDT's AML: NameOp "_S5_" PackageOp length count type...  It is
 * found by that byte pattern, without interpreting AML.  Where that does not end it, the port of
 * QEMU's q35 does; a failing status goes to isa-debug-exit first, which makes QEMU exit with
 * status * 2 + 1.
 *
 * Source: ACPI specification 6.5, sections 4.8.3 and 7.4.2; 20.2 for the encoding.
 */
#include "arch/x86_64/power.h"
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/instr.h"
#include "kernel/base/string.h"

#define DEBUG_EXIT_PORT 0xf4
#define Q35_PM1A_PORT   0x604

#define PM1_SCI_ENABLE   0x0001 /* the machine is in ACPI mode */
#define PM1_SLEEP_TYPE   10     /* shift */
#define PM1_SLEEP_ENABLE 0x2000

#define POLLS 100000u

#define AML_ZERO    0x00
#define AML_ONE     0x01
#define AML_NAME    0x08
#define AML_BYTE    0x0a
#define AML_PACKAGE 0x12

struct acpi_fadt {
    struct acpi_header header;
    uint32_t facs, dsdt;
    uint8_t reserved0[4];
    uint32_t smi_command_port;
    uint8_t acpi_enable;
    uint8_t reserved1[11];
    uint32_t pm1a_control_port;
    uint8_t reserved2[8];
    uint32_t pm_timer_port;
    uint8_t reserved3[60];
    uint64_t dsdt64; /* from revision 3 on */
} __attribute__((packed));

_Static_assert(offsetof(struct acpi_fadt, pm_timer_port) == 76, "FADT: PM_TMR_BLK");
_Static_assert(offsetof(struct acpi_fadt, dsdt64) == 140, "FADT: X_DSDT");

/* All written by power_init, then constant; ports are 0 where there are none. */
static uint16_t power_pm1a_port, power_smi_port;
static uint8_t power_acpi_enable, power_sleep_type;

/* The first number of the package after "_S5_" at `at`, or -1 when this is no such package. */
static int aml_sleep_type(const uint8_t *at, const uint8_t *end)
{
    at += 4;
    if (end - at < 8 || *at++ != AML_PACKAGE)
        return -1;
    at += 1 + (*at >> 6); /* the length: as many more bytes as its top two bits say */
    at++;                 /* the count */
    if (at + 1 >= end)
        return -1;
    if (*at == AML_BYTE)
        return at[1];
    return *at == AML_ZERO || *at == AML_ONE ? *at : -1;
}

/* The sleep type of \_S5, or -1 when the DSDT does not have it in the usual form. */
static int power_find_sleep_type(const struct acpi_header *dsdt)
{
    const uint8_t *at = (const uint8_t *)(dsdt + 1), *end = (const uint8_t *)dsdt + dsdt->bytes;

    for (at += 2; at + 4 <= end; at++) {
        bool is_name = at[-1] == AML_NAME || (at[-1] == '\\' && at[-2] == AML_NAME);

        if (is_name && memcmp(at, "_S5_", 4) == 0 && aml_sleep_type(at, end) >= 0)
            return aml_sleep_type(at, end);
    }
    return -1;
}

uint16_t power_init(void)
{
    const struct acpi_fadt *fadt = (const struct acpi_fadt *)acpi_table("FACP");
    if (fadt == NULL || fadt->header.bytes < offsetof(struct acpi_fadt, reserved3))
        return 0;

    uint16_t timer_port = (uint16_t)fadt->pm_timer_port;
    uint16_t control_port = (uint16_t)fadt->pm1a_control_port;
    uint64_t dsdt_physical = fadt->dsdt;

    power_smi_port = (uint16_t)fadt->smi_command_port;
    power_acpi_enable = fadt->acpi_enable;
    if (fadt->header.bytes >= sizeof(*fadt) && fadt->dsdt64 != 0)
        dsdt_physical = fadt->dsdt64;

    const struct acpi_header *dsdt = acpi_table_at(dsdt_physical, "DSDT");
    int type = dsdt != NULL ? power_find_sleep_type(dsdt) : -1;

    if (type >= 0) {
        power_sleep_type = (uint8_t)type & 7;
        power_pm1a_port = control_port;
    }
    return timer_port;
}

static void power_off(void)
{
    if (power_pm1a_port != 0) {
        if ((io_read16(power_pm1a_port) & PM1_SCI_ENABLE) == 0 && power_smi_port != 0) {
            io_write8(power_smi_port, power_acpi_enable);
            for (unsigned i = 0; i < POLLS; i++) {
                if (io_read16(power_pm1a_port) & PM1_SCI_ENABLE)
                    break;
            }
        }
        io_write16(power_pm1a_port,
                   (uint16_t)(power_sleep_type << PM1_SLEEP_TYPE | PM1_SLEEP_ENABLE));
    }
    io_write16(Q35_PM1A_PORT, PM1_SLEEP_ENABLE);
}

void arch_exit(unsigned status)
{
    arch_irq_disable();
    if (status != 0)
        io_write8(DEBUG_EXIT_PORT, (uint8_t)MIN(status, 0x7fu));
    power_off();
    cpu_halt();
}
