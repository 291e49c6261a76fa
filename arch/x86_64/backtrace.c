/*
 * Who called whom.  symbols.c has their names.
 *
 * All kernel code keeps frame pointers, except leaf functions: at [rbp] stands the caller's rbp, at
 * [rbp + 8] the return address.  Anything is read only if it lies whole inside one of the port's
 * stacks, which are always mapped, or in what the kernel says is mapped of the current flow's; a walk
 * ends at a return address that is not code.  Where the walk comes to a trap's or an interrupt's
 * frame, or to one that was copied to a flow's stack, it goes on with what that hit.
 */
#include "arch/x86_64/image.h"
#include "arch/x86_64/stack_region.h"
#include "arch/x86_64/stacks.h"
#include "arch/x86_64/trap.h"

#define PUSH_RBP 0x55 /* the instruction */

/* The stack that a walk is on: found once, not for every frame.  0, 0: none yet. */
struct stack_walked {
    uintptr_t bottom, top;
};

/* Do the `bytes` at addr lie inside one stack? */
static bool stack_is_readable(struct stack_walked *stack, uintptr_t addr, size_t bytes)
{
    struct stack_place place;

    if (!IS_ALIGNED(addr, 8u))
        return false;
    if (stack_region_can_read(addr, bytes))
        return true;
    if (addr < stack->bottom || addr >= stack->top) {
        if (!stack_find(addr, &place)) {
            if (!kernel_stack_bounds(addr, &stack->bottom, &stack->top))
                return false;
        } else if (place.is_guard) {
            return false;
        } else {
            stack_bounds(place.cpu, place.kind, &stack->bottom, &stack->top);
        }
    }
    return bytes <= stack->top - addr;
}

/*
 * Does the word at the stack pointer hold the return address, because what runs at `rip` has made
 * no frame?  True of a call that went to what is no code, of a function's first instruction, and as
 * a rule of leaf functions: those that do not start with push %rbp.
 */
static bool caller_is_at_rsp(uintptr_t rip)
{
    const char *name;
    size_t offset;

    if (!image_is_code(rip))
        return true;
    return arch_symbol(rip, &name, &offset) &&
           (offset == 0 || *(const uint8_t *)(rip - offset) != PUSH_RBP);
}

/* Where a trap hit, and its caller where that stands in no frame; at most two. */
static size_t backtrace_trap(struct stack_walked *stack, const struct trap_frame *frame,
                             uintptr_t *pcs, size_t max)
{
    size_t count = 0;

    if (count < max)
        pcs[count++] = frame->rip;
    if (count < max && stack_is_readable(stack, frame->rsp, sizeof(uintptr_t)) &&
        caller_is_at_rsp(frame->rip) && image_is_code(*(const uintptr_t *)frame->rsp))
        pcs[count++] = *(const uintptr_t *)frame->rsp;
    return count;
}

static bool backtrace_is_at_trap(uintptr_t pc)
{
    return pc == (uintptr_t)trap_return || pc == (uintptr_t)trap_resume;
}

size_t arch_backtrace(const struct trap_frame *from, uintptr_t *pcs, size_t max)
{
    struct stack_walked stack = {0, 0};
    uintptr_t rbp = from != NULL ? from->rbp : (uintptr_t)__builtin_frame_address(0);
    size_t count = from != NULL ? backtrace_trap(&stack, from, pcs, max) : 0;

    while (count < max && stack_is_readable(&stack, rbp, 2 * sizeof(uintptr_t))) {
        const uintptr_t *frame = (const uintptr_t *)rbp;

        if (!image_is_code(frame[1]))
            break;
        pcs[count++] = frame[1];
        rbp = frame[0];
        if (backtrace_is_at_trap(frame[1]) && stack_is_readable(&stack, rbp, sizeof(*from))) {
            const struct trap_frame *trap = (const struct trap_frame *)rbp;

            count += backtrace_trap(&stack, trap, pcs + count, max - count);
            rbp = trap->rbp;
        }
    }
    return count;
}
