/*
 * The hosted machine: hosted_start makes it and boots the kernel on it, hosted_stop takes it apart.
 */
#define _GNU_SOURCE
#include "arch/hosted/hosted.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "arch/hosted/hosted_impl.h"

#define RAM_BYTES_MIN (4 * MIB)

static bool is_spent SECTION("hosted_keep") = false; /* started, and cannot start again */
static bool fork_is_watched SECTION("hosted_keep") = false;
static char module_paths[BOOT_MODULE_MAX][256] SECTION("hosted_keep") = {{0}};
static unsigned module_path_count SECTION("hosted_keep") = 0;

bool hosted_is_forked;
static bool interrupts_found; /* arch_interrupt_init was called */
static struct boot_info boot_info;
static struct boot_range boot_ranges[1 + BOOT_MODULE_MAX];

/* ---- Modules: copied into the top of RAM ---- */

int hosted_module_load(const char *path)
{
    if (module_path_count == BOOT_MODULE_MAX || strlen(path) >= sizeof(module_paths[0])) {
        fprintf(stderr, "hosted_module_load: %s: more than %d modules, or a path too long\n", path,
                BOOT_MODULE_MAX);
        return -1;
    }
    if (access(path, R_OK) != 0) {
        perror(path);
        return -1;
    }
    strcpy(module_paths[module_path_count++], path);
    return 0;
}

static bool module_read(int file, char *to, size_t bytes)
{
    while (bytes > 0) {
        ssize_t got = read(file, to, bytes);

        if (got <= 0)
            return false;
        to += got;
        bytes -= (size_t)got;
    }
    return true;
}

/* Puts a module below *top, which moves down. */
static bool module_place(const char *path, uint64_t *top)
{
    struct boot_module *module = &boot_info.modules[boot_info.module_count];
    const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status = {0};
    uint64_t bytes = 0;
    bool done = false;

    if (file >= 0 && fstat(file, &status) == 0) {
        bytes = ALIGN_UP((uint64_t)status.st_size, ARCH_PAGE_BYTES);
        if (bytes <= *top / 2)
            done =
                module_read(file, (char *)hosted_ram_base + (*top - bytes), (size_t)status.st_size);
    }
    if (file >= 0)
        close(file);
    if (!done) {
        fprintf(stderr, "hosted_start: module %s: not readable, or more than half of RAM\n", path);
        return false;
    }

    *top -= bytes;
    snprintf(module->name, sizeof(module->name), "%s", name);
    module->data = (char *)hosted_ram_base + *top;
    module->bytes = (uint64_t)status.st_size;
    boot_info.module_count++;
    boot_ranges[boot_info.range_count++] =
        (struct boot_range){.base = *top, .bytes = bytes, .kind = BOOT_RANGE_MODULE};
    return true;
}

/* ---- Start ---- */

static bool machine_describe(size_t ram_bytes, const char *cmdline)
{
    uint64_t top = ram_bytes;

    boot_info = (struct boot_info){.magic = BOOT_INFO_MAGIC,
                                   .version = BOOT_INFO_VERSION,
                                   .bytes = sizeof(boot_info),
                                   .way = "hosted",
                                   .ranges = boot_ranges,
                                   .range_count = 1};
    strcpy(boot_info.cmdline, cmdline);
    for (unsigned i = 0; i < module_path_count; i++) {
        if (!module_place(module_paths[i], &top))
            return false;
    }
    boot_ranges[0] = (struct boot_range){.bytes = top, .kind = BOOT_RANGE_USABLE};
    return true;
}

static const char *machine_refuses(size_t ram_bytes, unsigned cpus, const char *cmdline)
{
    if (hosted_cpu_count != 0)
        return "it runs already: call hosted_stop first";
    if (is_spent)
        return "it ran before, and this program was not linked with libspandrel.a as its build "
               "makes it, so its first state cannot be restored";
    if (ram_bytes < RAM_BYTES_MIN)
        return "ram_bytes must be at least 4 MiB";
    if (cpus == 0 || cpus > ARCH_CPU_MAX)
        return "cpus must be 1 .. 64";
    if (strlen(cmdline) >= BOOT_CMDLINE_BYTES)
        return "cmdline must be shorter than 1024 bytes";
    return NULL;
}

int hosted_start(size_t ram_bytes, unsigned cpus, const char *cmdline)
{
    cmdline = cmdline != NULL ? cmdline : "";
    ram_bytes = ALIGN_DOWN(ram_bytes, ARCH_PAGE_BYTES);

    const char *refusal = machine_refuses(ram_bytes, cpus, cmdline);

    if (refusal != NULL) {
        fprintf(stderr, "hosted_start: %s\n", refusal);
        return -1;
    }

    is_spent = !hosted_reset_prepare();
    if (!hosted_memory_map(ram_bytes))
        return -1;
    if (!machine_describe(ram_bytes, cmdline)) {
        hosted_memory_unmap();
        return -1;
    }
    if (!fork_is_watched)
        fork_is_watched = hosted_cpu_watch_fork();
    hosted_cpu_count = cpus;
    hosted_symbols_load();
    hosted_trap_start();
    hosted_irq_start();
    hosted_cpu_boot();
    kernel_init(&boot_info);
    hosted_cpu_boot_done();
    return 0;
}

void hosted_stop(void)
{
    if (hosted_cpu_count == 0)
        return;
    hosted_cpu_stop_all();
    hosted_irq_stop();
    hosted_trap_stop();
    hosted_symbols_unload();
    hosted_memory_unmap();
    module_path_count = 0;
    hosted_cpu_count = 0;
    if (!is_spent)
        hosted_reset();
}

/* ---- One node: where Linux puts this process's memory is not known here ---- */

void arch_node_init(uint64_t rsdp)
{
    (void)rsdp;
}

unsigned arch_node_count(void)
{
    return 1;
}

unsigned arch_cpu_node(unsigned cpu)
{
    (void)cpu;
    return 0;
}

unsigned arch_node_distance(unsigned from, unsigned to)
{
    return from == to ? ARCH_NODE_DISTANCE_LOCAL : ARCH_NODE_DISTANCE_REMOTE;
}

size_t arch_node_ranges(const struct arch_node_range **ranges)
{
    *ranges = NULL;
    return 0;
}

/* ---- What has nothing to do on a process ---- */

void arch_boot_cpu_init(const struct boot_info *info)
{
    (void)info;
}

void arch_interrupt_init(void)
{
    interrupts_found = true;
}

unsigned arch_cpu_count(void)
{
    return interrupts_found ? hosted_cpu_count : 1;
}
