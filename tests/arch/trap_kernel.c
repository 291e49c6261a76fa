/* How traps are named, from frames that never were.  tests/qemu provokes the real ones. */
#include "arch/x86_64/trap.h"
#include "arch/x86_64/image.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/stacks.h"
#include "kernel/base/string.h"
#include "tests/test.h"

#define WRITE_UNMAPPED 2u
#define WRITE_MAPPED   3u
#define EXECUTE_MAPPED 17u

static bool trap_says(uint64_t error, uintptr_t addr, const char *text)
{
    struct trap_frame frame = {.vector = VECTOR_PAGE, .error = error};
    char said[160];

    trap_describe(&frame, addr, said, sizeof(said));
    return strstr(said, text) != NULL;
}

TEST(trap, page_faults_say_what_was_done_to_what)
{
    uintptr_t text = (uintptr_t)__text_start, data = (uintptr_t)__data_start;

    EXPECT(t, trap_says(0, 0, "null dereference: read at 0x0"));
    EXPECT(t, trap_says(WRITE_UNMAPPED, 8, "null dereference: write at 0x8"));
    EXPECT(t, trap_says(WRITE_MAPPED, text, "write to read-only address 0x"));
    EXPECT(t, trap_says(WRITE_MAPPED, text, "(kernel text)"));
    EXPECT(t, trap_says(WRITE_MAPPED, (uintptr_t)__rodata_start, "(kernel read-only data)"));
    EXPECT(t, trap_says(WRITE_MAPPED, (uintptr_t)direct_pointer(image_physical(__text_start)),
                        "(direct map of the kernel image)"));
    EXPECT(t, trap_says(EXECUTE_MAPPED, data, "execute of no-execute memory at 0x"));
    EXPECT(t, trap_says(EXECUTE_MAPPED, data, "(kernel data)"));
    EXPECT(t, trap_says(0, 0x123456789000, "read at unmapped address 0x123456789000 (lower half)"));
}

TEST(trap, stack_overflow_names_cpu_and_stack)
{
    uintptr_t bottom, top;

    stack_bounds(0, STACK_BOOT, &bottom, &top);
    EXPECT(t, trap_says(WRITE_UNMAPPED, bottom - 8, "stack overflow: boot stack of CPU 0"));
    stack_bounds(0, STACK_INTERRUPT, &bottom, &top);
    EXPECT(t, trap_says(WRITE_UNMAPPED, bottom - 8, "stack overflow: interrupt stack of CPU 0"));
}

TEST(trap, every_exception_has_a_name)
{
    for (unsigned vector = 0; vector < VECTOR_FIRST_IRQ; vector++) {
        struct trap_frame frame = {.vector = vector};
        char said[160] = "";

        trap_describe(&frame, 0, said, sizeof(said));
        EXPECT(t, said[0] != '\0');
    }
}

TEST(trap, protection_fault_shows_a_non_canonical_register)
{
    struct trap_frame frame = {.vector = VECTOR_PROTECTION, .r12 = 0x8000000000001000};
    char said[160];

    trap_describe(&frame, 0, said, sizeof(said));
    EXPECT(t, strstr(said, "r12 = 0x8000000000001000") != NULL);
}
