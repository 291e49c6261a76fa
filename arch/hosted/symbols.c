/*
 * Names of functions for backtraces of the hosted port: the process's own ELF symbol table, static
 * functions included, mapped at start-up; a lookup scans it, so that it works in a signal handler.
 *
 * There are no lines: a library cannot bring a table of the program that it will be linked into, and
 * what the compiler left of them is for a debugger's decoder.
 */
#define _GNU_SOURCE
#include "arch/hosted/hosted_impl.h"
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const unsigned char *elf; /* [C] while started; NULL: none */
static size_t elf_bytes;
static const Elf64_Sym *symbols;
static size_t symbol_count;
static const char *names;
static size_t name_bytes;
static uintptr_t load_bias; /* added to a symbol's value gives its address */

static bool elf_holds(uint64_t offset, uint64_t bytes)
{
    return offset <= elf_bytes && bytes <= elf_bytes - offset;
}

static void symbols_find(void)
{
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)elf;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(elf + head->e_shoff);

    if (!elf_holds(head->e_shoff, (uint64_t)head->e_shnum * sizeof(Elf64_Shdr)))
        return;
    for (size_t i = 0; i < head->e_shnum; i++) {
        const Elf64_Shdr *table = &sections[i];

        if (table->sh_type != SHT_SYMTAB || table->sh_link >= head->e_shnum ||
            !elf_holds(table->sh_offset, table->sh_size))
            continue;

        const Elf64_Shdr *strings = &sections[table->sh_link];

        if (!elf_holds(strings->sh_offset, strings->sh_size))
            continue;
        symbols = (const Elf64_Sym *)(elf + table->sh_offset);
        symbol_count = table->sh_size / sizeof(Elf64_Sym);
        names = (const char *)elf + strings->sh_offset;
        name_bytes = strings->sh_size;
        return;
    }
}

/* The first object that the dynamic linker lists is the program itself. */
static int symbols_note_bias(struct dl_phdr_info *info, size_t bytes, void *unused)
{
    (void)bytes, (void)unused;
    load_bias = info->dlpi_addr;
    return 1;
}

void hosted_symbols_load(void)
{
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat status;

    if (file < 0)
        return;
    if (fstat(file, &status) == 0 && (size_t)status.st_size >= sizeof(Elf64_Ehdr)) {
        void *image = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);

        if (image != MAP_FAILED) {
            elf = image;
            elf_bytes = (size_t)status.st_size;
            dl_iterate_phdr(symbols_note_bias, NULL);
            symbols_find();
        }
    }
    close(file);
}

void hosted_symbols_unload(void)
{
    if (elf != NULL)
        munmap((void *)(uintptr_t)elf, elf_bytes);
    elf = NULL;
    symbol_count = 0;
}

static bool symbol_is_function(const Elf64_Sym *symbol)
{
    return ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && symbol->st_shndx != SHN_UNDEF &&
           symbol->st_name < name_bytes;
}

uintptr_t arch_symbol_find(const char *name)
{
    for (size_t i = 0; i < symbol_count; i++) {
        if (symbol_is_function(&symbols[i]) && strcmp(names + symbols[i].st_name, name) == 0)
            return load_bias + symbols[i].st_value;
    }
    return 0;
}

bool arch_symbol(uintptr_t pc, const char **name, size_t *offset)
{
    for (size_t i = 0; i < symbol_count; i++) {
        const Elf64_Sym *symbol = &symbols[i];
        uintptr_t start = load_bias + symbol->st_value;

        if (symbol_is_function(symbol) && pc - start < symbol->st_size) {
            *name = names + symbol->st_name;
            *offset = pc - start;
            return true;
        }
    }
    return false;
}

bool arch_line(uintptr_t pc, const char **file, unsigned *line)
{
    (void)pc, (void)file, (void)line;
    return false;
}
