/*
 * Traps: where each goes, and the NMI.
 *
 * NMIs have three senders: a TLB flush (tlb.c), arch_nmi_send, and hardware.  The first two set a
 * flag of the CPU and send an NMI only if it was clear, so each flag stands for one NMI.  An NMI
 * that finds no flag set is hardware's and goes to the kernel, unless the one before found two:
 * their second NMI may have come late.
 */
#include "arch/x86_64/trap.h"
#include "arch/probe.h"
#include "arch/x86_64/cpu_block.h"
#include "arch/x86_64/instr.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/tlb.h"
#include "kernel/base/format.h"

#define TRAP_TEXT_BYTES 160

void (*trap_on_step)(struct trap_frame *frame);
#define DUMP_LINE_BYTES 100

extern char idle_halt[]; /* a CPU that is about to halt, interrupt.c; one byte */

static void trap_nmi(struct trap_frame *frame)
{
    struct cpu_block *block = cpu_block_this();
    uint32_t destination = lapic_destination_save();
    bool is_flush = tlb_flush_due(block);
    bool is_asked = atomic_exchange_explicit(&block->nmi_asked, false, memory_order_acq_rel);

    if (is_asked || (!is_flush && !block->nmi_may_repeat))
        kernel_nmi(frame);
    if (frame->rip == (uintptr_t)idle_halt)
        frame->rip++;
    block->nmi_may_repeat = is_asked && is_flush;
    lapic_destination_restore(destination);
}

/* A load that may fault (arch/probe.h) goes on at its landing. */
static bool trap_lands(struct trap_frame *frame)
{
    bool is_memory = frame->vector == VECTOR_PAGE || frame->vector == VECTOR_PROTECTION ||
                     frame->vector == VECTOR_STACK;
    uintptr_t landing = is_memory ? probe_landing(frame->rip) : 0;

    if (landing != 0)
        frame->rip = landing;
    return landing != 0;
}

/*
 * A page that is not there, and that the kernel can back.  What allocates it may touch data of a
 * sequence, as an interrupt may: so that one begins again.
 */
static bool trap_backs(struct trap_frame *frame)
{
    if (frame->vector != VECTOR_PAGE || (frame->error & TRAP_ERROR_PRESENT) != 0)
        return false;

    if (!kernel_page_fault(cr2_read(), (frame->rflags & RFLAGS_IF) != 0))
        return false;
    frame->rip = sequence_rewind(frame->rip);
    return true;
}

struct trap_frame *trap_dispatch(struct trap_frame *frame)
{
    if (frame->vector >= VECTOR_FIRST_IRQ) {
        frame->rip = sequence_rewind(frame->rip);
        interrupt_dispatch((unsigned)frame->vector);
        return UNLIKELY(flow_is_preempted()) ? flow_preempt(frame) : NULL;
    }
    if (frame->vector == VECTOR_NMI) {
        trap_nmi(frame);
    } else if (frame->vector == VECTOR_DEBUG && trap_on_step != NULL) {
        trap_on_step(frame);
    } else if (!trap_backs(frame) && !trap_lands(frame)) {
        char text[TRAP_TEXT_BYTES];

        trap_describe(frame, cr2_read(), text, sizeof(text));
        kernel_trap(frame, text);
    }
    return NULL;
}

bool arch_trap_fault(const struct trap_frame *frame, uintptr_t *addr, bool *is_write)
{
    *addr = cr2_read();
    *is_write = (frame->error & TRAP_ERROR_WRITE) != 0;
    return frame->vector == VECTOR_PAGE;
}

void arch_nmi_send(unsigned cpu)
{
    struct cpu_block *block = &cpu_blocks[cpu];

    if (!atomic_exchange_explicit(&block->nmi_asked, true, memory_order_acq_rel))
        lapic_send_nmi(block->apic_id);
}

void arch_trap_dump(const struct trap_frame *f, void (*line)(const char *text))
{
    const struct {
        const char *names[4];
        uint64_t values[4];
    } rows[] = {
        {{"rax", "rbx", "rcx", "rdx"}, {f->rax, f->rbx, f->rcx, f->rdx}},
        {{"rsi", "rdi", "rbp", "rsp"}, {f->rsi, f->rdi, f->rbp, f->rsp}},
        {{"r8 ", "r9 ", "r10", "r11"}, {f->r8, f->r9, f->r10, f->r11}},
        {{"r12", "r13", "r14", "r15"}, {f->r12, f->r13, f->r14, f->r15}},
        {{"rip", "rfl", "cr2", "cr3"}, {f->rip, f->rflags, cr2_read(), cr3_read()}},
    };
    char text[DUMP_LINE_BYTES];

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const char *const *names = rows[i].names;
        const uint64_t *values = rows[i].values;

        format_string(text, sizeof(text), "%s %016llx  %s %016llx  %s %016llx  %s %016llx",
                      names[0], (unsigned long long)values[0], names[1],
                      (unsigned long long)values[1], names[2], (unsigned long long)values[2],
                      names[3], (unsigned long long)values[3]);
        line(text);
    }
    format_string(text, sizeof(text), "cs %04llx  ss %04llx  vector %llu  error 0x%llx",
                  (unsigned long long)f->cs, (unsigned long long)f->ss,
                  (unsigned long long)f->vector, (unsigned long long)f->error);
    line(text);
}
