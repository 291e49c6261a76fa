/* The cpio reader: archives as make-initrd.sh and cpio(1) write them, and each defect. */
#include "boot/cpio.h"

#include "tests/boot/promises.h"
#include "tests/test.h"

#define ARCHIVE_BYTES 4096u
#define REGULAR       0100644u
#define FOLDER        0040755u
#define SYMLINK       0120777u
#define RANDOM_ROUNDS 20000

/* Offsets of an entry's numbers. */
enum field {
    MODE = 6 + 8 * 1,
    FILE_BYTES = 6 + 8 * 6,
    NAME_BYTES = 6 + 8 * 11,
    NAME = 110,
};

static char cpio_archive[ARCHIVE_BYTES];
static size_t cpio_size; /* bytes written to it */

static void cpio_put(const char *name, unsigned mode, const char *data)
{
    size_t name_bytes = strlen(name) + 1;
    char *to = cpio_archive + cpio_size;

    format_string(to, NAME + 1, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 0,
                  mode, 0, 0, 1, 0, (unsigned)strlen(data), 0, 0, 0, 0, (unsigned)name_bytes, 0);
    memcpy(to + NAME, name, name_bytes);
    cpio_size = ALIGN_UP(cpio_size + NAME + name_bytes, 4);
    memcpy(cpio_archive + cpio_size, data, strlen(data));
    cpio_size = ALIGN_UP(cpio_size + strlen(data), 4);
}

static void cpio_make_sound(void)
{
    memset(cpio_archive, 0, sizeof(cpio_archive));
    cpio_size = 0;
    cpio_put(".", FOLDER, "");
    cpio_put("files.kmt", REGULAR, "twelve bytes");
    cpio_put("link", SYMLINK, "files.kmt");
    cpio_put("a/b/empty", REGULAR, "");
    cpio_put("last", REGULAR, "odd");
    cpio_put("TRAILER!!!", 0, "");
}

TEST(cpio, sound_archive_gives_its_files)
{
    static const struct {
        const char *name, *data;
    } expected[] = {{"files.kmt", "twelve bytes"}, {"empty", ""}, {"last", "odd"}};
    struct cpio cpio;
    struct cpio_file file;
    struct boot_error error;

    cpio_make_sound();
    EXPECT(t, cpio_is_archive(cpio_archive, cpio_size));
    cpio_open(&cpio, cpio_archive, cpio_size);
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        REQUIRE(t, cpio_next(&cpio, &file, &error) == CPIO_FILE);
        EXPECT(t, promises_kept_by_file(&cpio, &file));
        EXPECT(t, strcmp(file.name, expected[i].name) == 0);
        EXPECT(t, file.bytes == strlen(expected[i].data));
        EXPECT(t, memcmp(file.data, expected[i].data, file.bytes) == 0);
        EXPECT(t, (file.data - cpio_archive) % 4 == 0);
    }
    EXPECT(t, cpio_next(&cpio, &file, &error) == CPIO_END);
    EXPECT(t, cpio_next(&cpio, &file, &error) == CPIO_END);
}

TEST(cpio, other_files_are_no_archives)
{
    EXPECT(t, !cpio_is_archive("", 0));
    EXPECT(t, !cpio_is_archive("07070", 5));
    EXPECT(t, !cpio_is_archive("070707000000", 12)); /* the old format */
    EXPECT(t, !cpio_is_archive("KMTRACE1", 8));
    EXPECT(t, cpio_is_archive("070701", 6));
}

/* Step through the archive; the error's text, or "" when it is read to its end. */
static const char *cpio_read_all(struct test *t, const char *bytes, uint64_t size)
{
    static struct boot_error error;
    struct cpio cpio;
    struct cpio_file file;
    enum cpio_step step;

    error.text[0] = '\0';
    cpio_open(&cpio, bytes, size);
    while ((step = cpio_next(&cpio, &file, &error)) == CPIO_FILE)
        EXPECT(t, promises_kept_by_file(&cpio, &file));
    EXPECT(t, (step == CPIO_BAD) == (error.text[0] != '\0'));
    return error.text;
}

/* The changes are made to the second entry, which begins at 0x70. */
static const struct {
    unsigned at;
    const char *put, *text;
} cpio_cases[] = {
    {0, "070702", "entry 1 at 0x70: does not begin with 070701"},
    {MODE, "0000x1a4", "entry 1 at 0x70: field 1 holds byte 0x78, no digit"},
    {FILE_BYTES, "        ", "entry 1 at 0x70: field 6 holds byte 0x20, no digit"},
    {NAME_BYTES, "-0000001", "entry 1 at 0x70: field 11 holds byte 0x2d, no digit"},
    {FILE_BYTES, "FFFFffff",
     "entry 1 at 0x70: data 0xe8 + 0xffffffff ends beyond the archive's 0x2e0 bytes"},
    {NAME_BYTES, "ffffffff",
     "entry 1 at 0x70: name of 0xffffffff bytes ends beyond the archive's 0x2e0 bytes"},
    {NAME_BYTES, "00000009", "entry 1 at 0x70: name of 0x9 bytes has no end"},
    {NAME_BYTES, "00000000", "entry 1 at 0x70: name of 0x0 bytes has no end"},
    {NAME, "files/km/", "entry 1 at 0x70: a file without a name"},
};

TEST(cpio, each_defect_has_its_own_text)
{
    for (size_t i = 0; i < ARRAY_COUNT(cpio_cases); i++) {
        cpio_make_sound();
        memcpy(cpio_archive + 0x70 + cpio_cases[i].at, cpio_cases[i].put,
               strlen(cpio_cases[i].put));
        const char *text = cpio_read_all(t, cpio_archive, cpio_size);
        if (strcmp(text, cpio_cases[i].text) != 0)
            test_failed(t, text, cpio_cases[i].text, (int)i);
    }
}

TEST(cpio, every_truncation_is_refused)
{
    cpio_make_sound();
    size_t whole = cpio_size;
    for (size_t size = 0; size < whole - 3; size++) { /* behind the trailer's name: its pad */
        /* The archive ends where the array does, so that reading on would be seen. */
        char *end = cpio_archive + ARCHIVE_BYTES;

        memmove(end - size, cpio_archive, size);
        EXPECT(t, cpio_read_all(t, end - size, size)[0] != '\0');
        cpio_make_sound();
    }
}

TEST(cpio, what_passes_keeps_its_promises)
{
    uint64_t random = test_seed(t) | 1;

    for (unsigned round = 0; round < RANDOM_ROUNDS; round++) {
        cpio_make_sound();
        for (unsigned n = 1 + random_next(&random) % 3; n > 0; n--) {
            size_t at = random_next(&random) % cpio_size;

            cpio_archive[at] = "0123456789abcdefF/\0.x\xff"[random_next(&random) % 22];
        }
        cpio_read_all(t, cpio_archive, cpio_size);
    }
}
