/*
 * What GC_TYPE, GC_ROOT, gc_load and gc_store leave for the collector to find.  The barrier is this
 * file's own and only notes what it was called with, so nothing here needs a collector, and roots
 * stay NULL under one that runs.  What must not compile or link: refused.sh.
 */
#include "mm/gc/gc_types.h"
#include "tests/test.h"

static struct {
    void *_Atomic *slot;
    void *value;
    unsigned calls;
} stored;

static inline void gc_store_word(void *_Atomic *slot, void *value)
{
    stored.slot = slot;
    stored.value = value;
    stored.calls++;
}

struct types_node {
    GC_PTR(struct types_node) left;
    GC_PTR(struct types_node) right;
    long key;
};
GC_TYPE(types_node, struct types_node, left, right);

struct types_pair {
    long key;
    GC_PTR(const char) text;
};

struct types_table {
    char flag;
    struct types_pair pair;
    GC_PTR(void) any;
    GC_PTR(struct types_node) kids[5], grid[2][3];
    struct types_pair pairs[2];
} __attribute__((aligned(64)));
GC_TYPE_EXTERN(types_table, struct types_table);
GC_TYPE(types_table, struct types_table, kids, pair.text, any, grid, pairs[0].text, pairs[1].text);

struct types_leaf {
    char text[20];
};
GC_TYPE_NOSCAN(types_leaf, struct types_leaf);

union types_either {
    GC_PTR(struct types_node) node;
    long numbers[2];
};
GC_TYPE_CONSERVATIVE(types_either, union types_either);

/* As many fields as a list may have. */
struct types_wide {
    GC_PTR(void) a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7;
    long none;
    GC_PTR(void) c0, c1, c2, c3, c4, c5, c6, c7, d0, d1, d2, d3, d4, d5, d6, d7;
};
GC_TYPE(types_wide, struct types_wide, a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6,
        b7, c0, c1, c2, c3, c4, c5, c6, c7, d0, d1, d2, d3, d4, d5, d6, d7);

extern GC_ROOT(struct types_node, types_tree);
GC_ROOT(struct types_node, types_tree);
static GC_ROOT(struct types_table, types_tables[3]);

static void expect_type(struct test *t, const struct gc_type *type, size_t bytes, size_t align,
                        unsigned flags)
{
    EXPECT(t, type->bytes == bytes);
    EXPECT(t, type->align == align);
    EXPECT(t, type->flags == flags);
}

static void expect_runs(struct test *t, const struct gc_type *type, const struct gc_run *runs,
                        size_t count)
{
    uint32_t pointers = 0;

    REQUIRE(t, type->run_count == count);
    for (size_t i = 0; i < count; i++) {
        EXPECT(t, type->runs[i].offset == runs[i].offset);
        EXPECT(t, type->runs[i].words == runs[i].words);
        pointers += runs[i].words;
    }
    EXPECT(t, type->pointer_count == pointers);
}

static bool is_text(const char *text, const char *expected)
{
    while (*text == *expected && *text != '\0')
        text++, expected++;
    return *text == *expected;
}

TEST(gc_types, a_type_is_its_struct)
{
    static const struct gc_run runs[] = {{0, 1}, {8, 1}};

    EXPECT(t, is_text(gc_type_types_node.name, "types_node"));
    expect_type(t, &gc_type_types_node, 24, 8, 0);
    expect_runs(t, &gc_type_types_node, runs, ARRAY_COUNT(runs));
}

TEST(gc_types, arrays_and_embedded_structs_are_runs)
{
    static const struct gc_run runs[] = {{32, 5}, {16, 1}, {24, 1}, {72, 6}, {128, 1}, {144, 1}};

    expect_type(t, &gc_type_types_table, 192, 64, 0);
    expect_runs(t, &gc_type_types_table, runs, ARRAY_COUNT(runs));
}

TEST(gc_types, a_list_has_32_fields)
{
    expect_type(t, &gc_type_types_wide, 33 * 8, 8, 0);
    REQUIRE(t, gc_type_types_wide.run_count == 32);
    EXPECT(t, gc_type_types_wide.pointer_count == 32);
    for (uint32_t i = 0; i < 32; i++) {
        EXPECT(t, gc_type_types_wide.runs[i].offset == (i < 16 ? i : i + 1) * 8);
        EXPECT(t, gc_type_types_wide.runs[i].words == 1);
    }
}

TEST(gc_types, flags_stand_for_a_list)
{
    expect_type(t, &gc_type_types_leaf, 20, 1, GC_NOSCAN);
    expect_runs(t, &gc_type_types_leaf, NULL, 0);
    expect_type(t, &gc_type_types_either, 16, 8, GC_CONSERVATIVE);
    expect_runs(t, &gc_type_types_either, NULL, 0);
}

TEST(gc_types, every_type_is_in_the_table_once)
{
    static struct gc_type *const mine[] = {&gc_type_types_node, &gc_type_types_table,
                                           &gc_type_types_leaf, &gc_type_types_either,
                                           &gc_type_types_wide};

    for (size_t i = 0; i < ARRAY_COUNT(mine); i++) {
        unsigned found = 0;

        for (struct gc_type *const *at = __start_gc_types; at < __stop_gc_types; at++)
            found += *at == mine[i];
        EXPECT(t, found == 1);
    }
    for (struct gc_type *const *at = __start_gc_types; at < __stop_gc_types; at++)
        EXPECT(t, *at != NULL);
}

static bool is_root(const void *slot)
{
    void *const *word = slot;

    return word >= (void *const *)__start_gc_roots && word < (void *const *)__stop_gc_roots &&
           IS_ALIGNED((uintptr_t)slot, sizeof(void *));
}

TEST(gc_types, roots_lie_in_their_section)
{
    EXPECT(t, IS_ALIGNED((uintptr_t)__start_gc_roots, sizeof(void *)));
    EXPECT(t, is_root(&types_tree));
    EXPECT(t, gc_load(&types_tree) == NULL);
    for (size_t i = 0; i < ARRAY_COUNT(types_tables); i++) {
        EXPECT(t, is_root(&types_tables[i]));
        EXPECT(t, gc_load(&types_tables[i]) == NULL);
    }
    EXPECT(t, sizeof(types_tables) == 3 * sizeof(void *));
    EXPECT(t, !is_root(&stored));
}

TEST(gc_types, load_gives_what_is_there)
{
    uintptr_t words[sizeof(struct types_table) / 8] __attribute__((aligned(64)));
    struct types_table *table = (struct types_table *)words;
    GC_PTR(struct types_node) *slot = &table->kids[0];

    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        words[i] = i * 16;
    EXPECT(t, (uintptr_t)gc_load(slot) == 4 * 16);
    slot = &table->kids[4];
    EXPECT(t, (uintptr_t)gc_load(slot) == 8 * 16);
    EXPECT(t, (uintptr_t)gc_load(&table->any) == 3 * 16);
    EXPECT(t, (uintptr_t)gc_load(&table->grid[1][2]) == 14 * 16);
    EXPECT(t, (uintptr_t)gc_load(&table->pairs[1].text) == 18 * 16);
}

TEST(gc_types, store_asks_the_barrier_once)
{
    uintptr_t words[2][3] = {{0}};
    struct types_node *nodes[2] = {(struct types_node *)words[0], (struct types_node *)words[1]};
    struct types_node **at = nodes;
    GC_PTR(struct types_node) *slot = &nodes[1]->left;

    stored.calls = 0;
    gc_store(slot++, *at++);
    EXPECT(t, stored.calls == 1);
    EXPECT(t, (uintptr_t *)stored.slot == &words[1][0]);
    EXPECT(t, stored.value == words[0]);
    EXPECT(t, at == nodes + 1);
    EXPECT(t, slot == &nodes[1]->left + 1);

    gc_store(&nodes[0]->right, NULL);
    EXPECT(t, stored.calls == 2);
    EXPECT(t, (uintptr_t *)stored.slot == &words[0][1]);
    EXPECT(t, stored.value == NULL);

    gc_store(&types_tree, nodes[1]);
    EXPECT(t, stored.calls == 3);
    EXPECT(t, (void *)stored.slot == (void *)&types_tree);
    EXPECT(t, stored.value == words[1]);
}
