/*
 * The checker and planner of the kernel's ELF file.
 *
 * Idea: every number of the file is hostile until it has been compared with one that is known.
 * Sums are formed only after a comparison has shown that they do not wrap.  Headers are copied out
 * with memcpy, since nothing in the file need be aligned.
 *
 * Contract: pure; one distinct text per check; what passes holds E1 to E5 of elf.h.
 *
 * Not here: whether the addresses are RAM (boot/uefi/memory.c), loading (boot/uefi/kernel.c).
 *
 * Source: System V ABI, chapters 4 and 5; AMD64 supplement.
 */
#include "boot/elf.h"

#include "boot/boot_info.h"
#include "kernel/base/string.h"

#define ELF_CLASS_64       2
#define ELF_DATA_LITTLE    1
#define ELF_VERSION        1
#define ELF_TYPE_EXEC      2
#define ELF_MACHINE_X86_64 62
#define ELF_PHDR_LOAD      1

struct elf_header {
    uint8_t magic[4];
    uint8_t file_class;
    uint8_t data;
    uint8_t ident_version;
    uint8_t ident_rest[9];
    uint16_t type;
    uint16_t machine;
    uint32_t version;
    uint64_t entry;
    uint64_t phdr_offset;
    uint64_t shdr_offset;
    uint32_t flags;
    uint16_t header_bytes;
    uint16_t phdr_bytes;
    uint16_t phdr_count;
    uint16_t shdr_bytes;
    uint16_t shdr_count;
    uint16_t shdr_names;
};

struct elf_phdr {
    uint32_t type;
    uint32_t flags; /* enum elf_rights */
    uint64_t file_offset;
    uint64_t virt;
    uint64_t phys;
    uint64_t file_bytes;
    uint64_t mem_bytes;
    uint64_t align;
};

static bool elf_check_header(const struct elf_header *h, struct boot_error *error)
{
    if (memcmp(h->magic,
               "\x7f"
               "ELF",
               4) != 0)
        return boot_fail(error, "no ELF file: it begins %02x %02x %02x %02x, not 7f 45 4c 46",
                         h->magic[0], h->magic[1], h->magic[2], h->magic[3]);
    if (h->file_class != ELF_CLASS_64)
        return boot_fail(error, "wrong class %u: a 64-bit ELF file has class %u", h->file_class,
                         ELF_CLASS_64);
    if (h->data != ELF_DATA_LITTLE)
        return boot_fail(error, "wrong byte order %u: little-endian is %u", h->data,
                         ELF_DATA_LITTLE);
    if (h->ident_version != ELF_VERSION || h->version != ELF_VERSION)
        return boot_fail(error, "wrong ELF version %u, %u: expected %u", h->ident_version,
                         h->version, ELF_VERSION);
    if (h->machine != ELF_MACHINE_X86_64)
        return boot_fail(error, "wrong machine %u: x86_64 is %u", h->machine, ELF_MACHINE_X86_64);
    if (h->type != ELF_TYPE_EXEC)
        return boot_fail(error, "wrong type %u: an executable linked to fixed addresses is %u",
                         h->type, ELF_TYPE_EXEC);
    if (h->header_bytes != sizeof(struct elf_header))
        return boot_fail(error, "wrong header size %u: expected %zu", h->header_bytes,
                         sizeof(struct elf_header));
    if (h->phdr_bytes != sizeof(struct elf_phdr))
        return boot_fail(error, "wrong program header size %u: expected %zu", h->phdr_bytes,
                         sizeof(struct elf_phdr));
    if (h->phdr_count == 0)
        return boot_fail(error, "no program headers");
    return true;
}

/* The program headers lie inside the file, and inside the part of it that the caller has read. */
static bool elf_check_phdr_table(const struct elf_header *h, uint64_t head_bytes,
                                 uint64_t file_bytes, struct boot_error *error)
{
    uint64_t bytes = (uint64_t)h->phdr_count * sizeof(struct elf_phdr);

    if (h->phdr_offset > file_bytes || bytes > file_bytes - h->phdr_offset)
        return boot_fail(error,
                         "truncated: program headers 0x%lx + 0x%lx end beyond the file's 0x%lx "
                         "bytes",
                         h->phdr_offset, bytes, file_bytes);
    if (h->phdr_offset > head_bytes || bytes > head_bytes - h->phdr_offset)
        return boot_fail(error,
                         "program headers 0x%lx + 0x%lx do not lie in the file's first 0x%lx bytes",
                         h->phdr_offset, bytes, head_bytes);
    return true;
}

/* E1, E2, E4 for one segment. */
static bool elf_check_segment(const struct elf_segment *s, uint64_t file_bytes,
                              struct boot_error *error)
{
    const uint64_t virt_max = UINT64_MAX - BOOT_KERNEL_BASE + 1; /* 2 GiB */

    if (s->file_bytes > s->mem_bytes)
        return boot_fail(error, "segment %u: 0x%lx file bytes exceed its 0x%lx bytes of memory",
                         s->header, s->file_bytes, s->mem_bytes);
    if (s->file_offset > file_bytes || s->file_bytes > file_bytes - s->file_offset)
        return boot_fail(error,
                         "truncated: segment %u: file bytes 0x%lx + 0x%lx end beyond the file's "
                         "0x%lx",
                         s->header, s->file_offset, s->file_bytes, file_bytes);
    if (!IS_ALIGNED(s->phys, ELF_PAGE_BYTES))
        return boot_fail(error, "segment %u: physical address 0x%lx is not a multiple of %u",
                         s->header, s->phys, ELF_PAGE_BYTES);
    if (s->phys >= virt_max || s->mem_bytes > virt_max - s->phys)
        return boot_fail(error, "segment %u: 0x%lx + 0x%lx ends beyond physical 0x%lx", s->header,
                         s->phys, s->mem_bytes, virt_max);
    if (s->virt != BOOT_KERNEL_BASE + s->phys)
        return boot_fail(error, "segment %u: linked at 0x%lx, but physical 0x%lx belongs at 0x%llx",
                         s->header, s->virt, s->phys, BOOT_KERNEL_BASE + s->phys);
    if ((s->rights & ELF_WRITE) && (s->rights & ELF_EXEC))
        return boot_fail(error, "segment %u: both writable and executable (flags %u)", s->header,
                         s->rights);
    return true;
}

/* E3 of a new segment against those before it. */
static bool elf_check_overlap(const struct elf_plan *plan, const struct elf_segment *s,
                              struct boot_error *error)
{
    uint64_t end = ALIGN_UP(s->phys + s->mem_bytes, ELF_PAGE_BYTES);

    for (size_t i = 0; i < plan->segment_count; i++) {
        const struct elf_segment *other = &plan->segments[i];
        uint64_t other_end = ALIGN_UP(other->phys + other->mem_bytes, ELF_PAGE_BYTES);

        if (s->phys < other_end && other->phys < end)
            return boot_fail(error,
                             "segments %u and %u overlap: pages 0x%lx to 0x%lx and 0x%lx to 0x%lx",
                             other->header, s->header, other->phys, other_end, s->phys, end);
    }
    return true;
}

static bool elf_check_entry(const struct elf_plan *plan, struct boot_error *error)
{
    for (size_t i = 0; i < plan->segment_count; i++) {
        const struct elf_segment *s = &plan->segments[i];

        if ((s->rights & ELF_EXEC) && plan->entry >= s->virt &&
            plan->entry - s->virt < s->file_bytes)
            return true;
    }
    return boot_fail(error, "entry 0x%lx lies in no executable segment", plan->entry);
}

bool elf_check(const void *head, uint64_t head_bytes, uint64_t file_bytes, struct elf_plan *plan,
               struct boot_error *error)
{
    struct elf_header header;

    if (head_bytes < sizeof(header))
        return boot_fail(error, "truncated: 0x%lx bytes, an ELF header has 0x%zx", head_bytes,
                         sizeof(header));
    memcpy(&header, head, sizeof(header));
    if (!elf_check_header(&header, error) ||
        !elf_check_phdr_table(&header, head_bytes, file_bytes, error))
        return false;

    plan->entry = header.entry;
    plan->segment_count = 0;
    for (uint32_t i = 0; i < header.phdr_count; i++) {
        struct elf_phdr phdr;

        memcpy(&phdr, (const char *)head + header.phdr_offset + i * sizeof(phdr), sizeof(phdr));
        if (phdr.type != ELF_PHDR_LOAD || (phdr.mem_bytes == 0 && phdr.file_bytes == 0))
            continue;
        if (plan->segment_count == ELF_SEGMENT_MAX)
            return boot_fail(error, "segment %u: more than %d loadable segments", i,
                             ELF_SEGMENT_MAX);

        struct elf_segment segment = {
            .file_offset = phdr.file_offset,
            .file_bytes = phdr.file_bytes,
            .virt = phdr.virt,
            .phys = phdr.phys,
            .mem_bytes = phdr.mem_bytes,
            .rights = phdr.flags & (ELF_EXEC | ELF_WRITE | ELF_READ),
            .header = i,
        };
        if (!elf_check_segment(&segment, file_bytes, error) ||
            !elf_check_overlap(plan, &segment, error))
            return false;
        plan->segments[plan->segment_count++] = segment;
    }
    if (plan->segment_count == 0)
        return boot_fail(error, "no loadable segment");
    return elf_check_entry(plan, error);
}
