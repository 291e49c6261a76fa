/* struct boot_info's limits, and the search for free pages. */
#include "boot/handover.h"

#include "kernel/base/string.h"
#include "tests/test.h"

static struct boot_info handover_info;
static struct boot_range handover_ranges[8];

static void handover_fresh(void)
{
    handover_init(&handover_info);
    handover_info.ranges = handover_ranges;
}

TEST(handover, command_line)
{
    static char text[BOOT_CMDLINE_BYTES + 8];
    struct boot_error error;

    handover_fresh();
    EXPECT(t, handover_info.magic == BOOT_INFO_MAGIC && handover_info.version == BOOT_INFO_VERSION);
    EXPECT(t, handover_cmdline(&handover_info, "run=test cpus=2\r\n\n", 18, &error));
    EXPECT(t, strcmp(handover_info.cmdline, "run=test cpus=2") == 0);
    EXPECT(t, handover_cmdline(&handover_info, "", 0, &error));
    EXPECT(t, handover_info.cmdline[0] == '\0');

    EXPECT(t, !handover_cmdline(&handover_info, "a\0b", 3, &error));
    EXPECT(t, strcmp(error.text, "command line holds a NUL at byte 1 of 3") == 0);

    memset(text, 'x', sizeof(text));
    text[BOOT_CMDLINE_BYTES - 1] = '\n';
    EXPECT(t, handover_cmdline(&handover_info, text, BOOT_CMDLINE_BYTES, &error));
    EXPECT(t, strlen(handover_info.cmdline) == BOOT_CMDLINE_BYTES - 1);
    text[BOOT_CMDLINE_BYTES - 1] = 'x';
    EXPECT(t, !handover_cmdline(&handover_info, text, BOOT_CMDLINE_BYTES, &error));
    EXPECT(t, strcmp(error.text, "command line too long: 1024 bytes, at most 1023") == 0);
}

TEST(handover, modules)
{
    static const char name[] = "123456789 123456789 123456789 123456789 123456789 123456789 1234";
    struct boot_error error;

    handover_fresh();
    EXPECT(t, !handover_module(&handover_info, name, NULL, 0, &error));
    EXPECT(t, strcmp(error.text, "module name too long: 64 characters, at most 63") == 0);
    for (unsigned i = 0; i < BOOT_MODULE_MAX; i++)
        EXPECT(t, handover_module(&handover_info, name + 1, name, i, &error));
    EXPECT(t, strcmp(handover_info.modules[BOOT_MODULE_MAX - 1].name, name + 1) == 0);
    EXPECT(t, handover_info.modules[BOOT_MODULE_MAX - 1].bytes == BOOT_MODULE_MAX - 1);
    EXPECT(t, !handover_module(&handover_info, "one", name, 1, &error));
    EXPECT(t, strcmp(error.text, "too many modules: at most 32") == 0);
    EXPECT(t, handover_info.module_count == BOOT_MODULE_MAX);
}

TEST(handover, ranges)
{
    struct boot_range range = {0x1000, 0x2000, BOOT_RANGE_ACPI, 9};
    struct boot_error error;

    handover_fresh();
    EXPECT(t, handover_range(&handover_info, 1, range, &error));
    EXPECT(t, handover_info.range_count == 1 && handover_ranges[0].kind == BOOT_RANGE_ACPI);
    EXPECT(t, !handover_range(&handover_info, 1, range, &error));
    EXPECT(t, strcmp(error.text, "memory map too long: room for 1 ranges") == 0);
}

TEST(handover, free_pages_are_free)
{
    static const struct boot_range map[] = {
        {0x4800, 0x4800, BOOT_RANGE_USABLE, 0}, /* whole pages: 5 to 8 */
        {0x20000, 0x3000, BOOT_RANGE_USABLE, 0},
        {0x10000, 0x800, BOOT_RANGE_USABLE, 0},
        {0x6010, 0x10, BOOT_RANGE_MODULE, 0},
        {0x20000, 0x1001, BOOT_RANGE_RESERVED, 0},
        {0x7000, 0, BOOT_RANGE_KERNEL, 0},
        {UINT64_MAX - 0xfff, 0x2000, BOOT_RANGE_USABLE, 0}, /* wraps */
        {0x22000, UINT64_MAX, BOOT_RANGE_ACPI, 0},          /* wraps: all from there on */
    };
    static const uint64_t expected[] = {0x5000, 0x7000, 0x8000, 0};
    struct boot_error error;
    uint64_t from = 0;

    handover_fresh();
    EXPECT(t, handover_find_page(&handover_info, 0, UINT64_MAX) == 0);
    for (size_t i = 0; i < ARRAY_COUNT(map); i++)
        EXPECT(t, handover_range(&handover_info, ARRAY_COUNT(map), map[i], &error));
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        uint64_t page = handover_find_page(&handover_info, from, UINT64_MAX);

        EXPECT(t, page == expected[i]);
        from = page + 1;
    }
    EXPECT(t, handover_find_page(&handover_info, 0x7001, 0x8fff) == 0);
    EXPECT(t, handover_find_page(&handover_info, 0x7001, 0x9000) == 0x8000);
    EXPECT(t, handover_find_page(&handover_info, UINT64_MAX, UINT64_MAX) == 0);
}
