/*
 * The kernel file's checker: one sound file, and for each check the smallest change to it that only
 * this check refuses.
 */
#include "boot/elf.h"

#include "tests/boot/promises.h"
#include "tests/test.h"

#define HEAD_BYTES    0x800u  /* that the checker gets to see */
#define FILE_BYTES    0x3000u /* that the file is said to have */
#define PHDR(i)       (64 + 56 * (i))
#define PHDR_COUNT    3
#define RANDOM_ROUNDS 20000

/* Offsets in the ELF header and, from PHDR(i), in a program header. */
enum field {
    CLASS = 4,
    DATA = 5,
    IDENT_VERSION = 6,
    TYPE = 16,
    MACHINE = 18,
    VERSION = 20,
    ENTRY = 24,
    PHOFF = 32,
    EHSIZE = 52,
    PHENTSIZE = 54,
    PHNUM = 56,
    P_TYPE = 0,
    P_FLAGS = 4,
    P_OFFSET = 8,
    P_VADDR = 16,
    P_PADDR = 24,
    P_FILESZ = 32,
    P_MEMSZ = 40,
};

struct change {
    unsigned at, bytes;
    uint64_t value;
};

static unsigned char elf_head[HEAD_BYTES];

static void elf_put(unsigned at, unsigned bytes, uint64_t value)
{
    for (unsigned i = 0; i < bytes; i++)
        elf_head[at + i] = (unsigned char)(value >> (8 * i));
}

static void elf_put_phdr(unsigned i, uint32_t rights, uint64_t offset, uint64_t phys,
                         uint64_t file_bytes, uint64_t mem_bytes)
{
    elf_put(PHDR(i) + P_TYPE, 4, 1);
    elf_put(PHDR(i) + P_FLAGS, 4, rights);
    elf_put(PHDR(i) + P_OFFSET, 8, offset);
    elf_put(PHDR(i) + P_VADDR, 8, BOOT_KERNEL_BASE + phys);
    elf_put(PHDR(i) + P_PADDR, 8, phys);
    elf_put(PHDR(i) + P_FILESZ, 8, file_bytes);
    elf_put(PHDR(i) + P_MEMSZ, 8, mem_bytes);
}

/* Text at 16 MiB, a page and a half of data behind it, and a note. */
static void elf_make_sound(void)
{
    memset(elf_head, 0, sizeof(elf_head));
    memcpy(elf_head, "\177ELF\2\1\1", 7);
    elf_put(TYPE, 2, 2);
    elf_put(MACHINE, 2, 62);
    elf_put(VERSION, 4, 1);
    elf_put(ENTRY, 8, BOOT_KERNEL_BASE + 0x1000010);
    elf_put(PHOFF, 8, PHDR(0));
    elf_put(EHSIZE, 2, 64);
    elf_put(PHENTSIZE, 2, 56);
    elf_put(PHNUM, 2, PHDR_COUNT);
    elf_put_phdr(0, ELF_READ | ELF_EXEC, 0x1000, 0x1000000, 0x800, 0x800);
    elf_put_phdr(1, ELF_READ | ELF_WRITE, 0x2000, 0x1001000, 0x100, 0x1800);
    elf_put_phdr(2, ELF_READ, 0x3000, 0x1003000, 0, 0);
    elf_put(PHDR(2) + P_TYPE, 4, 4);
}

TEST(elf, sound_file_is_planned)
{
    struct elf_plan plan;
    struct boot_error error;

    elf_make_sound();
    REQUIRE(t, elf_check(elf_head, HEAD_BYTES, FILE_BYTES, &plan, &error));
    EXPECT(t, promises_broken_by_plan(&plan, FILE_BYTES) == 0);
    EXPECT(t, plan.entry == BOOT_KERNEL_BASE + 0x1000010);
    REQUIRE(t, plan.segment_count == 2);
    EXPECT(t, plan.segments[0].phys == 0x1000000);
    EXPECT(t, plan.segments[0].rights == (ELF_READ | ELF_EXEC));
    EXPECT(t, plan.segments[1].virt == BOOT_KERNEL_BASE + 0x1001000);
    EXPECT(t, plan.segments[1].file_offset == 0x2000);
    EXPECT(t, plan.segments[1].file_bytes == 0x100);
    EXPECT(t, plan.segments[1].mem_bytes == 0x1800);
    EXPECT(t, plan.segments[1].header == 1);
}

static const struct {
    struct change changes[2];
    const char *text;
} elf_cases[] = {
    {{{0, 4, 0x464c4500}}, "no ELF file: it begins 00 45 4c 46, not 7f 45 4c 46"},
    {{{CLASS, 1, 1}}, "wrong class 1: a 64-bit ELF file has class 2"},
    {{{DATA, 1, 2}}, "wrong byte order 2: little-endian is 1"},
    {{{IDENT_VERSION, 1, 0}}, "wrong ELF version 0, 1: expected 1"},
    {{{VERSION, 4, 7}}, "wrong ELF version 1, 7: expected 1"},
    {{{MACHINE, 2, 183}}, "wrong machine 183: x86_64 is 62"},
    {{{TYPE, 2, 3}}, "wrong type 3: an executable linked to fixed addresses is 2"},
    {{{EHSIZE, 2, 52}}, "wrong header size 52: expected 64"},
    {{{PHENTSIZE, 2, 32}}, "wrong program header size 32: expected 56"},
    {{{PHNUM, 2, 0}}, "no program headers"},
    {{{PHOFF, 8, 0x2fa0}},
     "truncated: program headers 0x2fa0 + 0xa8 end beyond the file's 0x3000 bytes"},
    {{{PHOFF, 8, ~0ull}},
     "truncated: program headers 0xffffffffffffffff + 0xa8 end beyond the file's 0x3000 bytes"},
    {{{PHOFF, 8, 0x780}},
     "program headers 0x780 + 0xa8 do not lie in the file's first 0x800 bytes"},
    {{{PHDR(1) + P_FILESZ, 8, 0x1000}, {PHDR(1) + P_MEMSZ, 8, 0xfff}},
     "segment 1: 0x1000 file bytes exceed its 0xfff bytes of memory"},
    {{{PHDR(1) + P_FILESZ, 8, 0x1001}},
     "truncated: segment 1: file bytes 0x2000 + 0x1001 end beyond the file's 0x3000"},
    {{{PHDR(1) + P_OFFSET, 8, ~0ull}},
     "truncated: segment 1: file bytes 0xffffffffffffffff + 0x100 end beyond the file's 0x3000"},
    {{{PHDR(1) + P_PADDR, 8, 0x1001008}},
     "segment 1: physical address 0x1001008 is not a multiple of 4096"},
    {{{PHDR(1) + P_MEMSZ, 8, ~0ull}},
     "segment 1: 0x1001000 + 0xffffffffffffffff ends beyond physical 0x80000000"},
    {{{PHDR(1) + P_PADDR, 8, 0x80000000}},
     "segment 1: 0x80000000 + 0x1800 ends beyond physical 0x80000000"},
    {{{PHDR(1) + P_VADDR, 8, 0x1001000}},
     "segment 1: linked at 0x1001000, but physical 0x1001000 "
     "belongs at 0xffffffff81001000"},
    {{{PHDR(1) + P_FLAGS, 4, 7}}, "segment 1: both writable and executable (flags 7)"},
    {{{PHDR(1) + P_PADDR, 8, 0x1000000}, {PHDR(1) + P_VADDR, 8, BOOT_KERNEL_BASE + 0x1000000}},
     "segments 0 and 1 overlap: pages 0x1000000 to 0x1001000 and 0x1000000 to 0x1002000"},
    {{{PHDR(0) + P_TYPE, 4, 4}, {PHDR(1) + P_TYPE, 4, 4}}, "no loadable segment"},
    {{{PHDR(0) + P_FILESZ, 8, 0x10}}, "entry 0xffffffff81000010 lies in no executable segment"},
    {{{ENTRY, 8, BOOT_KERNEL_BASE + 0x1001000}},
     "entry 0xffffffff81001000 lies in no executable segment"},
    {{{ENTRY, 8, BOOT_KERNEL_BASE + 0x1000800}},
     "entry 0xffffffff81000800 lies in no executable segment"},
};

TEST(elf, each_defect_has_its_own_text)
{
    for (size_t i = 0; i < ARRAY_COUNT(elf_cases); i++) {
        struct elf_plan plan;
        struct boot_error error = {""};

        elf_make_sound();
        for (size_t k = 0; k < ARRAY_COUNT(elf_cases[i].changes); k++) {
            const struct change *c = &elf_cases[i].changes[k];

            elf_put(c->at, c->bytes, c->value);
        }
        EXPECT(t, !elf_check(elf_head, HEAD_BYTES, FILE_BYTES, &plan, &error));
        if (strcmp(error.text, elf_cases[i].text) != 0)
            test_failed(t, error.text, elf_cases[i].text, (int)i);
    }
}

TEST(elf, too_many_segments)
{
    struct elf_plan plan;
    struct boot_error error = {""};

    elf_make_sound();
    for (unsigned i = 0; i <= ELF_SEGMENT_MAX; i++)
        elf_put_phdr(i, ELF_READ | ELF_EXEC, 0, 0x1000000 + i * 0x1000ul, 0x100, 0x100);
    elf_put(PHNUM, 2, ELF_SEGMENT_MAX);
    EXPECT(t, elf_check(elf_head, HEAD_BYTES, FILE_BYTES, &plan, &error));
    EXPECT(t, plan.segment_count == ELF_SEGMENT_MAX);
    elf_put(PHNUM, 2, ELF_SEGMENT_MAX + 1);
    EXPECT(t, !elf_check(elf_head, HEAD_BYTES, FILE_BYTES, &plan, &error));
    EXPECT(t, strcmp(error.text, "segment 16: more than 16 loadable segments") == 0);
}

TEST(elf, every_truncation_is_refused)
{
    struct elf_plan plan;

    elf_make_sound();
    for (uint64_t bytes = 0; bytes < FILE_BYTES; bytes++) {
        struct boot_error error = {""};

        /* The head ends where the array does, so that reading on would be seen. */
        uint64_t head_bytes = MIN(bytes, (uint64_t)PHDR(PHDR_COUNT));
        unsigned char *head = elf_head + HEAD_BYTES - head_bytes;
        memmove(head, elf_head, head_bytes);
        bool ok = elf_check(head, head_bytes, bytes, &plan, &error);
        EXPECT(t, ok == (bytes >= 0x2100));
        EXPECT(t, ok || strstr(error.text, "truncated") != NULL);
        elf_make_sound();
    }
}

TEST(elf, what_passes_keeps_its_promises)
{
    uint64_t random = test_seed(t) | 1;

    for (unsigned round = 0; round < RANDOM_ROUNDS; round++) {
        struct elf_plan plan;
        struct boot_error error = {""};

        elf_make_sound();
        for (unsigned n = 1 + random_next(&random) % 3; n > 0; n--) {
            unsigned at = random_next(&random) % PHDR(PHDR_COUNT);

            elf_head[at] = (unsigned char)random_next(&random);
        }
        if (elf_check(elf_head, HEAD_BYTES, FILE_BYTES, &plan, &error))
            EXPECT(t, promises_broken_by_plan(&plan, FILE_BYTES) == 0);
        else
            EXPECT(t, error.text[0] != '\0');
    }
}
