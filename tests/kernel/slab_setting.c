/* slab_debug=: what it may be set to, and what a value turns on for whom. */
#include "kernel/slab_setting.h"
#include "kernel/base/string.h"
#include "tests/test.h"

/* The letters that a setting turns on for a name, in their order. */
static const char *letters_on(const char *text, const char *name)
{
    static char on[6];
    size_t count = 0;

    for (const char *letter = "rpqts"; *letter != '\0'; letter++) {
        if (slab_setting_has(text, *letter, name))
            on[count++] = *letter;
    }
    on[count] = '\0';
    return on;
}

TEST(slab_setting, says_what_is_on_for_whom)
{
    static const struct {
        const char *text, *name, *on;
    } cases[] = {
        {"", "kmalloc-64", ""},
        {"0", "kmalloc-64", ""},
        {"0,kmalloc-64", "kmalloc-64", ""},
        {"1", "kmalloc-64", "rpqts"},
        {"all", "inodes", "rpqts"},
        {"r", "inodes", "r"},
        {"srt", "inodes", "rts"},
        {"poison", "inodes", "p"},
        {"trace+redzone", "inodes", "rt"},
        {"quarantine+ps", "inodes", "pqs"},
        {"rp,kmalloc-64", "kmalloc-64", "rp"},
        {"rp,kmalloc-64", "kmalloc-640", ""},
        {"rp,kmalloc-64", "kmalloc-6", ""},
        {"rp,kmalloc-64,inodes", "inodes", "rp"},
        {"1,kmalloc-*", "kmalloc-2048", "rpqts"},
        {"1,kmalloc-*", "inodes", ""},
        {"rp,kmalloc-64", NULL, "rp"},
        {"0", NULL, ""},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        EXPECT(t, cases[i].text[0] == '\0' || slab_setting_is_valid(cases[i].text));
        if (!EXPECT(t, strcmp(letters_on(cases[i].text, cases[i].name), cases[i].on) == 0))
            test_failed(t, cases[i].text, __FILE__, __LINE__);
    }
}

TEST(slab_setting, refuses_what_it_does_not_know)
{
    static const char *const refused[] = {
        "",         ",",      "x",
        "rpx",      "yes",    "2",
        "11",       "r p",    "R",
        "poisoned", "poiso+", "+r",
        "r+",       "r++p",   "r,",
        "r,,a",     ",a",     "r,a,",
        "10",       "allall", "all+r",
        "redzone-", "rp;abc", "r,0123456789012345678901234567890123456789012345678901234567890123",
    };

    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        if (!EXPECT(t, !slab_setting_is_valid(refused[i])))
            test_failed(t, refused[i], __FILE__, __LINE__);
    }
    EXPECT(t, slab_setting_is_valid(
                  "r,0123456789012345678901234567890123456789012345678901234567890"));
}
