/*
 * What a trap means, in words, for the first line of its report: which access to what, and for a
 * guard page whose stack ran out.  Any context; reads nothing but tables that do not change.
 */
#include "arch/x86_64/image.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/stack_region.h"
#include "arch/x86_64/stacks.h"
#include "arch/x86_64/trap.h"
#include "kernel/base/format.h"

#define NULL_END      0x10000ul /* an access below is taken for one through a null pointer */
#define LOW_HALF_END  0x0000800000000000ul
#define HIGH_HALF     0xffff800000000000ul
#define TABLE_REGION  0xffffc00000000000ul
#define WINDOW_REGION 0xffffe00000000000ul
#define WINDOW_END    0xffffe80000000000ul

#define ERROR_RESERVED (1u << 3)
#define ERROR_EXECUTE  (1u << 4)

static const char *const trap_names[VECTOR_FIRST_IRQ] = {
    [0] = "divide error",
    [1] = "debug trap",
    [3] = "breakpoint",
    [4] = "overflow",
    [5] = "bound range exceeded",
    [6] = "invalid opcode",
    [7] = "floating point or vector instruction",
    [VECTOR_DOUBLE] = "double fault",
    [10] = "invalid TSS",
    [11] = "segment not present",
    [12] = "stack segment fault",
    [VECTOR_PROTECTION] = "general protection fault",
    [VECTOR_PAGE] = "page fault",
    [16] = "floating point error",
    [17] = "misaligned access",
    [VECTOR_MACHINE] = "machine check",
    [19] = "vector floating point error",
    [20] = "virtualisation exception",
    [21] = "control protection fault",
};

static const char *image_region(uintptr_t addr)
{
    if (image_within(addr, __text_start, __text_end))
        return "kernel text";
    if (image_within(addr, __rodata_start, __rodata_end))
        return "kernel read-only data";
    if (image_within(addr, __data_start, __data_end))
        return "kernel data";
    if (image_within(addr, __boot_start, __boot_end))
        return "start-up code and data, released after start-up";
    if (image_within(addr, __names_start, __names_end))
        return "kernel symbol table";
    return NULL;
}

static const char *region_name(uintptr_t addr)
{
    const char *image = image_region(addr);

    if (image != NULL)
        return image;
    if (addr < LOW_HALF_END)
        return "lower half";
    if (addr < TABLE_REGION) {
        image = image_region(BOOT_KERNEL_BASE + direct_physical(addr));
        return image != NULL ? "direct map of the kernel image" : "direct map";
    }
    if (addr < STACK_REGION_BASE)
        return "reserved table, not committed there";
    if (addr < WINDOW_REGION)
        return "region of stacks, not backed there";
    return addr < WINDOW_END ? "device window" : "kernel half";
}

static void describe_page_fault(uint64_t error, uintptr_t addr, char *text, size_t bytes)
{
    const char *access = error & ERROR_EXECUTE      ? "execute"
                         : error & TRAP_ERROR_WRITE ? "write"
                                                    : "read";
    unsigned long shown = addr;
    struct stack_place place;

    if (addr < NULL_END)
        format_string(text, bytes, "null dereference: %s at 0x%lx", access, shown);
    else if ((error & TRAP_ERROR_PRESENT) == 0 && stack_find(addr, &place) && place.is_guard)
        format_string(text, bytes, "stack overflow: %s of CPU %u (%s at 0x%lx)",
                      stack_name(place.kind), place.cpu, access, shown);
    else if (error & ERROR_RESERVED)
        format_string(text, bytes, "page fault: damaged page tables at 0x%lx (%s)", shown,
                      region_name(addr));
    else if ((error & TRAP_ERROR_PRESENT) == 0)
        format_string(text, bytes, "page fault: %s at unmapped address 0x%lx (%s)", access, shown,
                      region_name(addr));
    else if (error & ERROR_EXECUTE)
        format_string(text, bytes, "page fault: execute of no-execute memory at 0x%lx (%s)", shown,
                      region_name(addr));
    else
        format_string(text, bytes, "page fault: %s to read-only address 0x%lx (%s)", access, shown,
                      region_name(addr));
}

/* A protection fault does not say its address: look for a register with a non-canonical one. */
static void describe_protection(const struct trap_frame *f, char *text, size_t bytes)
{
    const struct {
        const char *name;
        uint64_t value;
    } registers[] = {
        {"rax", f->rax}, {"rbx", f->rbx}, {"rcx", f->rcx}, {"rdx", f->rdx}, {"rsi", f->rsi},
        {"rdi", f->rdi}, {"rbp", f->rbp}, {"r8", f->r8},   {"r9", f->r9},   {"r10", f->r10},
        {"r11", f->r11}, {"r12", f->r12}, {"r13", f->r13}, {"r14", f->r14}, {"r15", f->r15},
    };

    for (size_t i = 0; f->error == 0 && i < ARRAY_COUNT(registers); i++) {
        uint64_t value = registers[i].value;

        if (value >= LOW_HALF_END && value < HIGH_HALF) {
            format_string(text, bytes,
                          "general protection fault: perhaps non-canonical address, %s = 0x%llx",
                          registers[i].name, (unsigned long long)value);
            return;
        }
    }
    format_string(text, bytes, "general protection fault: error code 0x%llx",
                  (unsigned long long)f->error);
}

void trap_describe(const struct trap_frame *frame, uint64_t cr2, char *text, size_t bytes)
{
    const char *name = trap_names[frame->vector];
    struct stack_place place;

    if (frame->vector == VECTOR_PAGE)
        describe_page_fault(frame->error, cr2, text, bytes);
    else if (frame->vector == VECTOR_PROTECTION)
        describe_protection(frame, text, bytes);
    else if (frame->vector == VECTOR_DOUBLE && stack_find(frame->rsp, &place))
        format_string(text, bytes, "double fault on the %s of CPU %u%s", stack_name(place.kind),
                      place.cpu, place.is_guard ? ", which is full" : "");
    else if (name != NULL)
        format_string(text, bytes, "%s", name);
    else
        format_string(text, bytes, "exception %llu", (unsigned long long)frame->vector);
}
