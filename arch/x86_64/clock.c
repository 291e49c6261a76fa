/*
 * How fast does the time stamp counter run?
 *
 * Idea: one window of a few milliseconds, at both ends of which every clock is read: the ACPI PM
 * timer, channel 2 of the PIT, the local APIC timer, the TSC.  PM timer and PIT have known
 * frequencies, so each gives the TSC's on its own, and they must agree; what CPUID states is taken
 * if it agrees with them.  Each reading is bracketed by two of the TSC and the narrowest of a few
 * is kept, so that a host that takes the CPU away in between does no harm.
 *
 * Under -icount the window is so many instructions: it is kept short.
 */
#include "arch/x86_64/clock.h"
#include "arch/x86_64/instr.h"
#include "arch/x86_64/lapic.h"

#define PM_HZ   3579545u
#define PM_MASK 0xffffffu /* the timer has at least 24 bits */
#define PIT_HZ  1193182u

#define PIT_CHANNEL2    0x42
#define PIT_COMMAND     0x43
#define PIT_LATCH2      0x80
#define PIT_COUNT_DOWN2 0xb0 /* channel 2, low then high byte, mode 0 */
#define SPEAKER_PORT    0x61
#define SPEAKER_GATE2   0x01
#define SPEAKER_ON      0x02

#define WINDOW_US    2500u
#define WINDOW_TRIES 4u      /* windows, until the sources agree */
#define WINDOW_SPINS 200000u /* then no clock is running */
#define READ_TRIES   3u      /* readings, of which the narrowest counts */
#define AGREE_PER    100u    /* sources agree when they differ by less than 1 / this */

/* A clock's reading and the TSC at that moment. */
struct reading {
    uint32_t count;
    uint64_t tsc;
};

/* What was read at one end of the window. */
struct sample {
    struct reading pm, pit, lapic;
};

static uint64_t clock_hz;      /* of the TSC; constant after clock_init */
static uint16_t clock_pm_port; /* 0: none; constant after clock_init */

uint64_t arch_ticks_per_second(void)
{
    return clock_hz;
}

void clock_wait_us(unsigned microseconds)
{
    uint64_t start = arch_ticks(), ticks = clock_hz / 1000000 * microseconds;

    while (arch_ticks() - start < ticks)
        arch_relax();
}

/* All three count up here. */
static uint32_t clock_read_pm(void)
{
    return clock_pm_port != 0 ? io_read32(clock_pm_port) & PM_MASK : 0;
}

static uint32_t clock_read_pit(void)
{
    io_write8(PIT_COMMAND, PIT_LATCH2);
    uint32_t low = io_read8(PIT_CHANNEL2);

    return 0xffff - (low | (uint32_t)io_read8(PIT_CHANNEL2) << 8);
}

static uint32_t clock_read_lapic(void)
{
    return UINT32_MAX - lapic_timer_read();
}

static struct reading clock_read(uint32_t (*read)(void))
{
    struct reading best = {0};
    uint64_t best_width = UINT64_MAX;

    for (unsigned i = 0; i < READ_TRIES; i++) {
        uint64_t before = arch_ticks();
        uint32_t count = read();
        uint64_t width = arch_ticks() - before;

        if (width < best_width) {
            best_width = width;
            best = (struct reading){count, before + width / 2};
        }
    }
    return best;
}

static struct sample clock_sample(void)
{
    return (struct sample){.pm = clock_read(clock_read_pm),
                           .pit = clock_read(clock_read_pit),
                           .lapic = clock_read(clock_read_lapic)};
}

/* TSC ticks per second by a clock of `hz`; 0 when that clock did not move. */
static uint64_t clock_tsc_hz(struct reading start, struct reading end, uint32_t mask, uint32_t hz)
{
    uint32_t counted = (end.count - start.count) & mask;

    return counted > 0 ? (end.tsc - start.tsc) * hz / counted : 0;
}

static bool clock_agree(uint64_t a, uint64_t b)
{
    return a != 0 && b != 0 && (a > b ? a - b : b - a) < MAX(a, b) / AGREE_PER;
}

/* Run one window: the TSC's frequency by the PM timer and by the PIT, 0 where there is none. */
static void clock_measure(uint64_t *by_pm, uint64_t *by_pit, uint64_t *lapic_hz)
{
    uint8_t speaker = io_read8(SPEAKER_PORT);

    io_write8(SPEAKER_PORT, (speaker | SPEAKER_GATE2) & (uint8_t)~SPEAKER_ON);
    io_write8(PIT_COMMAND, PIT_COUNT_DOWN2);
    io_write8(PIT_CHANNEL2, 0xff);
    io_write8(PIT_CHANNEL2, 0xff);
    lapic_timer_free_run();

    struct sample start = clock_sample();

    for (unsigned i = 0; i < WINDOW_SPINS; i++) {
        uint32_t pm = (clock_read_pm() - start.pm.count) & PM_MASK;
        uint32_t pit = (clock_read_pit() - start.pit.count) & 0xffff;

        if (pm >= PM_HZ / 1000 * WINDOW_US / 1000 || pit >= PIT_HZ / 1000 * WINDOW_US / 1000)
            break;
    }

    struct sample end = clock_sample();

    io_write8(SPEAKER_PORT, speaker);
    *by_pm = clock_tsc_hz(start.pm, end.pm, PM_MASK, PM_HZ);
    *by_pit = clock_tsc_hz(start.pit, end.pit, 0xffff, PIT_HZ);

    uint64_t tsc_hz = *by_pm != 0 ? *by_pm : *by_pit;
    uint64_t lapic_ticks = end.lapic.count - start.lapic.count;
    uint64_t lapic_tsc = MAX(end.lapic.tsc - start.lapic.tsc, 1u);

    *lapic_hz = lapic_ticks * (tsc_hz / 1000) / lapic_tsc * 1000;
}

/* What CPUID states, 0 for nothing: leaf 0x15, with 0x16 where the crystal is not stated; or a
 * hypervisor's leaf. */
static uint64_t clock_stated_hz(void)
{
    struct cpuid ratio = cpuid(0x15), hypervisor = cpuid(0x40000010);

    if (hypervisor.eax != 0)
        return (uint64_t)hypervisor.eax * 1000;
    if (ratio.eax == 0 || ratio.ebx == 0)
        return 0;
    return ratio.ecx != 0 ? (uint64_t)ratio.ecx * ratio.ebx / ratio.eax
                          : (uint64_t)(cpuid(0x16).eax & 0xffff) * 1000000;
}

static void clock_report(const char *source, const char *witness)
{
    bool is_invariant = (cpuid(0x80000007).edx & 1u << 8) != 0;
    unsigned khz = (unsigned)(clock_hz / 1000);

    kernel_log("tsc: %u.%03u MHz by %s, %s%s", khz / 1000, khz % 1000, source, witness,
               is_invariant ? ", invariant" : "");
}

void clock_init(uint16_t pm_port)
{
    uint64_t stated = clock_stated_hz(), by_pm = 0, by_pit = 0, lapic_hz = 0;

    clock_pm_port = pm_port;
    for (unsigned i = 0; i < WINDOW_TRIES; i++) {
        clock_measure(&by_pm, &by_pit, &lapic_hz);
        if (clock_agree(by_pm, by_pit))
            break;
    }
    lapic_timer_calibrated(lapic_hz);

    if (clock_agree(stated, by_pm) || clock_agree(stated, by_pit)) {
        clock_hz = stated;
        clock_report("CPUID", clock_agree(stated, by_pm) ? "verified by the ACPI PM timer"
                                                         : "verified by the PIT");
    } else if (by_pm != 0) {
        clock_hz = by_pm;
        clock_report("the ACPI PM timer",
                     clock_agree(by_pm, by_pit) ? "verified by the PIT" : "the PIT disagrees");
    } else if (by_pit != 0) {
        clock_hz = by_pit;
        clock_report("the PIT", "not verified: no other clock");
    } else {
        clock_hz = stated != 0 ? stated : 1000000000;
        clock_report(stated != 0 ? "CPUID" : "assumption", "not verified: no clock runs");
    }
}
