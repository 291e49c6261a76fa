/*
 * Traps and backtraces of the hosted port.
 *
 * SIGSEGV, SIGBUS, SIGILL and SIGFPE of a thread that holds a CPU become kernel_trap, on a stack of
 * their own, so that the overflow of a thread's stack is reported too.  A thread that holds no CPU
 * gets what the process had installed before.
 *
 * Backtraces follow frame pointers.  Each is read only inside this thread's stack, that of the kernel
 * thread on it, or the trap stack, and must lie above the one before, but for the step from the trap
 * stack to another.
 */
#define _GNU_SOURCE
#include "arch/hosted/hosted_impl.h"
#include "arch/probe.h"
#include <errno.h>
#include <sys/mman.h>
#include "kernel/base/format.h"

#define TRAP_STACK_BYTES (256 * KIB) /* an interrupt, an NMI in it, and a trap in that */

static const struct trap_kind {
    int signal;
    const char *name;
} trap_kinds[] = {
    {SIGSEGV, "page fault"},
    {SIGBUS, "bus error"},
    {SIGILL, "invalid opcode"},
    {SIGFPE, "divide error"},
};
static struct sigaction trap_before[ARRAY_COUNT(trap_kinds)];

/* ---- Reports ---- */

static const char *trap_access(const ucontext_t *context)
{
    greg_t error = context->uc_mcontext.gregs[REG_ERR];

    if (error & 16)
        return "execute";
    return error & 2 ? "write" : "read";
}

static const char *trap_address_name(uintptr_t addr)
{
    if (addr < hosted_this.stack_low && hosted_this.stack_low - addr <= 64 * KIB)
        return "stack guard: stack overflow";
    return hosted_memory_name(addr);
}

static void trap_restore_before(size_t kind)
{
    sigaction(trap_kinds[kind].signal, &trap_before[kind], NULL);
}

/* A load that may fault (arch/probe.h) goes on at its landing. */
static bool trap_lands(int signal, ucontext_t *context)
{
    greg_t *pc = &context->uc_mcontext.gregs[REG_RIP];
    uintptr_t landing = signal == SIGSEGV ? probe_landing((uintptr_t)*pc) : 0;

    if (landing != 0)
        *pc = (greg_t)landing;
    return landing != 0;
}

uintptr_t hosted_trap_enter(const ucontext_t *context)
{
    struct hosted_thread *self = hosted_this_find();
    uintptr_t before = self->interrupted_sp;
    uintptr_t sp = (uintptr_t)context->uc_mcontext.gregs[REG_RSP];

    if (sp < self->trap_stack || sp >= self->trap_stack_end)
        self->interrupted_sp = sp;
    return before;
}

void hosted_trap_leave(uintptr_t entered)
{
    hosted_this.interrupted_sp = entered;
}

/*
 * A page of a stack that is not there, and that the kernel can back.  HOSTED_SIGNAL_IRQ is blocked,
 * so an interrupt that comes meanwhile is taken on return.
 */
static bool trap_backs(int signal, const siginfo_t *info, ucontext_t *context)
{
    int saved_errno = errno;
    unsigned long state = hosted_this.irq;
    greg_t *pc = &context->uc_mcontext.gregs[REG_RIP];
    bool is_backed;

    if (signal != SIGSEGV || !hosted_stacks_has((uintptr_t)info->si_addr))
        return false;
    hosted_this.irq = state + 1;
    is_backed = kernel_page_fault((uintptr_t)info->si_addr, (state & HOSTED_IRQ_DEPTH_MASK) == 0);
    if (hosted_this.irq != state + 1)
        hosted_irq_misnested(state + 1);
    hosted_this.irq = state;
    if (is_backed)
        *pc = (greg_t)sequence_rewind((uintptr_t)*pc);
    errno = saved_errno;
    return is_backed;
}

static void trap_on_signal(int signal, siginfo_t *info, void *context)
{
    struct trap_frame frame = {context};
    uintptr_t addr = (uintptr_t)info->si_addr;
    char what[128];
    size_t kind = 0;

    while (trap_kinds[kind].signal != signal)
        kind++;
    if (hosted_this.cpu == NULL) { /* not ours: let it happen again */
        trap_restore_before(kind);
        return;
    }
    if (trap_backs(signal, info, context) || trap_lands(signal, context))
        return;
    hosted_this.irq = hosted_this.irq + 1;
    if (signal == SIGSEGV && info->si_code == SI_KERNEL)
        format_string(what, sizeof(what), "general protection fault: address not canonical");
    else if (signal == SIGSEGV)
        format_string(what, sizeof(what), "%s: %s of 0x%lx (%s)", trap_kinds[kind].name,
                      trap_access(context), addr, trap_address_name(addr));
    else
        format_string(what, sizeof(what), "%s at 0x%lx", trap_kinds[kind].name, addr);
    kernel_trap(&frame, what);
}

#define TRAP_PAGE_FAULT 14 /* the CPU's number of it */

bool arch_trap_fault(const struct trap_frame *frame, uintptr_t *addr, bool *is_write)
{
    const greg_t *values = frame->context->uc_mcontext.gregs;

    *addr = (uintptr_t)values[REG_CR2];
    *is_write = (values[REG_ERR] & 2) != 0;
    return values[REG_TRAPNO] == TRAP_PAGE_FAULT;
}

void arch_trap_dump(const struct trap_frame *frame, void (*line)(const char *text))
{
    static const struct {
        const char *name;
        int idx;
    } registers[] = {
        {"rip", REG_RIP}, {"rsp", REG_RSP}, {"rbp", REG_RBP}, {"rfl", REG_EFL}, {"rax", REG_RAX},
        {"rbx", REG_RBX}, {"rcx", REG_RCX}, {"rdx", REG_RDX}, {"rsi", REG_RSI}, {"rdi", REG_RDI},
        {"r8 ", REG_R8},  {"r9 ", REG_R9},  {"r10", REG_R10}, {"r11", REG_R11}, {"r12", REG_R12},
        {"r13", REG_R13}, {"r14", REG_R14}, {"r15", REG_R15}, {"cr2", REG_CR2}, {"err", REG_ERR},
    };
    const greg_t *values = frame->context->uc_mcontext.gregs;
    char text[128];
    size_t used = 0;

    for (size_t i = 0; i < ARRAY_COUNT(registers); i++) {
        used += format_string(text + used, sizeof(text) - used, "%s%s=%016lx", used ? " " : "",
                              registers[i].name, (unsigned long)values[registers[i].idx]);
        if (i % 4 == 3) {
            line(text);
            used = 0;
        }
    }
}

/* ---- Backtraces ---- */

static bool frame_is_in(uintptr_t frame, uintptr_t low, uintptr_t high)
{
    return frame % sizeof(uintptr_t) == 0 && frame >= low && frame < high &&
           high - frame >= 2 * sizeof(uintptr_t);
}

bool hosted_stack_find(uintptr_t addr, uintptr_t *low, uintptr_t *top)
{
    *low = hosted_this.stack_low;
    *top = hosted_this.stack_high;
    return (addr >= *low && addr < *top) || kernel_stack_bounds(addr, low, top);
}

static bool frame_is_on_stack(uintptr_t frame)
{
    uintptr_t low, top;

    return hosted_stack_find(frame, &low, &top) && frame_is_in(frame, low, top);
}

/* Sanitizers: the stack is read as plain memory. */
__attribute__((no_sanitize("address"), no_sanitize("thread"))) size_t arch_backtrace(
    const struct trap_frame *from, uintptr_t *pcs, size_t max)
{
    const struct hosted_thread *thread = hosted_this_find();
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    size_t count = 0;

    if (from != NULL) {
        frame = (uintptr_t)from->context->uc_mcontext.gregs[REG_RBP];
        if (max > 0)
            pcs[count++] = (uintptr_t)from->context->uc_mcontext.gregs[REG_RIP];
    }
    while (count < max) {
        bool on_trap_stack = frame_is_in(frame, thread->trap_stack, thread->trap_stack_end);

        if (!on_trap_stack && !frame_is_on_stack(frame))
            break;

        const volatile uintptr_t *words = (const uintptr_t *)frame;
        uintptr_t next = words[0], pc = words[1];

        if (pc == 0)
            break;
        pcs[count++] = pc;
        if (next <= frame && !(on_trap_stack && frame_is_on_stack(next)))
            break;
        frame = next;
    }
    return count;
}

/* ---- Threads ---- */

static void trap_find_stack(void)
{
    pthread_attr_t attributes;
    void *low = NULL;
    size_t bytes = 0;

    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return;
    pthread_attr_getstack(&attributes, &low, &bytes);
    pthread_attr_destroy(&attributes);
    hosted_this.stack_low = (uintptr_t)low;
    hosted_this.stack_high = (uintptr_t)low + bytes;
}

void hosted_trap_thread_init(void)
{
    stack_t present, own = {.ss_size = TRAP_STACK_BYTES};

    if (hosted_this.stack_high == 0)
        trap_find_stack();
    if (hosted_this.trap_stack != 0)
        return;
    if (sigaltstack(NULL, &present) != 0 || present.ss_flags & SS_DISABLE)
        present = (stack_t){.ss_flags = SS_DISABLE};
    if (present.ss_size >= TRAP_STACK_BYTES) {
        own = present; /* the process, or a sanitizer, gave it one */
    } else {
        own.ss_sp = mmap(NULL, TRAP_STACK_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (own.ss_sp == MAP_FAILED)
            return;
        sigaltstack(&own, NULL);
        hosted_this.has_trap_stack = true;
        hosted_this.prior_stack = (uintptr_t)present.ss_sp;
        hosted_this.prior_bytes = present.ss_size;
    }
    hosted_this.trap_stack = (uintptr_t)own.ss_sp;
    hosted_this.trap_stack_end = (uintptr_t)own.ss_sp + own.ss_size;
}

void hosted_trap_thread_fini(void)
{
    stack_t prior = {.ss_sp = (void *)hosted_this.prior_stack,
                     .ss_size = hosted_this.prior_bytes,
                     .ss_flags = hosted_this.prior_bytes == 0 ? SS_DISABLE : 0};

    if (hosted_this.has_trap_stack) {
        sigaltstack(&prior, NULL);
        munmap((void *)hosted_this.trap_stack, TRAP_STACK_BYTES);
    }
    hosted_this.has_trap_stack = false;
    hosted_this.trap_stack = 0;
    hosted_this.trap_stack_end = 0;
}

void hosted_trap_start(void)
{
    struct sigaction action = {.sa_sigaction = trap_on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, HOSTED_SIGNAL_IRQ);
    for (size_t kind = 0; kind < ARRAY_COUNT(trap_kinds); kind++)
        sigaction(trap_kinds[kind].signal, &action, &trap_before[kind]);
}

void hosted_trap_stop(void)
{
    for (size_t kind = 0; kind < ARRAY_COUNT(trap_kinds); kind++)
        trap_restore_before(kind);
}
