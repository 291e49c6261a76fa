/*
 * Addresses for stacks: which are taken.
 *
 *     region   | group, 4 GiB           | group | ...        each a page, made when first needed
 *     group    | unit, 2 MiB | unit | ... 2048
 *     unit     | slot | slot | ... 8                         a byte: a bit for each slot of 256 KiB
 *
 * A stack of up to 1 MiB is 1, 2 or 4 slots of a unit; a longer one is a run of whole units.  All are
 * aligned to their size, and the lowest that are free go out first: so stacks stand together, and
 * high units run empty.  A unit has page tables while a slot of it is taken, and a group its page: a
 * stack of default size costs 512 bytes of page table and one bit.
 *
 * Invariants, tested by stack_check():
 *   S1  taken == number of 1 bits in used[]
 *   S2  full has a 1 for a unit  <=>  all of its slots are taken
 *   S3  a group is there  <=>  taken > 0
 *   S4  no group below space.first has a slot that is free
 *
 * Locks: STACKS, the caller's.  Pages come from the page heap with it held (PAGE_HEAP ranks below).
 */
#include "mm/page/page.h"
#include "mm/stack/stack_impl.h"

#define UNIT_SLOTS  (PORT_STACK_UNIT / STACK_DEFAULT_BYTES)
#define GROUP_UNITS 2048u
#define GROUP_SLOTS (GROUP_UNITS * UNIT_SLOTS)
#define GROUP_BYTES (GROUP_UNITS * PORT_STACK_UNIT)
#define GROUPS_MAX  1024u /* 4 TiB: 16 million stacks */

_Static_assert(UNIT_SLOTS == 8, "a unit is a byte of used[]");
_Static_assert(STACK_MAX_BYTES <= GROUP_BYTES, "a stack is in one group");

struct stack_group {
    uint64_t full[GROUP_UNITS / 64]; /* [STACKS] S2 */
    uint32_t taken;                  /* [STACKS] slots, S1 */
    uint8_t used[GROUP_UNITS];       /* [STACKS] bit set: slot taken */
};

_Static_assert(sizeof(struct stack_group) <= PAGE_BYTES, "a group is a page");

static struct {
    uintptr_t base;                         /* [C] of the region */
    unsigned count;                         /* [C] groups */
    unsigned first;                         /* [STACKS] S4 */
    size_t table_pages;                     /* [STACKS] page tables, and groups */
    struct stack_group *groups[GROUPS_MAX]; /* [STACKS] NULL: nothing is taken, S3 */
} space;

void stack_space_init(void)
{
    size_t bytes;

    space.base = port_stack_region(&bytes);
    space.count = (unsigned)MIN(bytes / GROUP_BYTES, (size_t)GROUPS_MAX);
}

static void *space_take_page(void)
{
    void *page = page_alloc(1, PAGE_ZERO);

    space.table_pages += page != NULL;
    return page;
}

static void space_give_page(void *page)
{
    space.table_pages--;
    stack_wait_page_locked(page);
}

/* ---- Slots of a group ---- */

/* Of `slots` slots, at most UNIT_SLOTS, from `slot` on: their bits in a unit's byte. */
static unsigned group_mask(size_t slot, size_t slots)
{
    return ((1u << slots) - 1) << slot % UNIT_SLOTS;
}

static void group_mark(struct stack_group *group, size_t slot, size_t slots, bool is_taken)
{
    for (size_t at = slot; at < slot + slots; at += UNIT_SLOTS) {
        size_t unit = at / UNIT_SLOTS;
        uint8_t mask = (uint8_t)group_mask(at, MIN(slots, (size_t)UNIT_SLOTS));

        group->used[unit] = is_taken ? group->used[unit] | mask : group->used[unit] & ~mask;
        if (group->used[unit] == UINT8_MAX)
            group->full[unit / 64] |= 1ull << unit % 64;
        else
            group->full[unit / 64] &= ~(1ull << unit % 64);
    }
    group->taken += is_taken ? (uint32_t)slots : -(uint32_t)slots;
}

/* The lowest aligned free slots of one unit, or GROUP_SLOTS. */
static size_t group_find_slots(const struct stack_group *group, size_t slots)
{
    for (size_t word = 0; word < ARRAY_COUNT(group->full); word++) {
        for (uint64_t open = ~group->full[word]; open != 0; open &= open - 1) {
            size_t unit = word * 64 + (size_t)__builtin_ctzll(open);

            for (size_t at = 0; at < UNIT_SLOTS; at += slots) {
                if ((group->used[unit] & group_mask(at, slots)) == 0)
                    return unit * UNIT_SLOTS + at;
            }
        }
    }
    return GROUP_SLOTS;
}

/* The lowest aligned run of free units, or GROUP_SLOTS. */
static size_t group_find_units(const struct stack_group *group, size_t units)
{
    for (size_t unit = 0; unit < GROUP_UNITS; unit += units) {
        size_t free = 0;

        while (free < units && group->used[unit + free] == 0)
            free++;
        if (free == units)
            return unit * UNIT_SLOTS;
    }
    return GROUP_SLOTS;
}

static size_t group_find(const struct stack_group *group, size_t slots)
{
    return slots < UNIT_SLOTS ? group_find_slots(group, slots)
                              : group_find_units(group, slots / UNIT_SLOTS);
}

/* ---- Groups ---- */

/* Nothing of it is taken: no CPU has ever seen its page in a page table. */
static void group_drop_if_empty(unsigned idx)
{
    struct stack_group *group = space.groups[idx];

    if (group->taken != 0)
        return;
    space.groups[idx] = NULL;
    space.table_pages--;
    page_free(group, 1);
}

/* The tables of the units in which these slots are the only ones: made, or given back. */
static bool group_open(unsigned idx, size_t slot, size_t slots)
{
    uintptr_t unit = space.base + idx * GROUP_BYTES + slot / UNIT_SLOTS * PORT_STACK_UNIT;
    size_t bytes = MAX(slots / UNIT_SLOTS, (size_t)1) * PORT_STACK_UNIT;

    if (space.groups[idx]->used[slot / UNIT_SLOTS] != 0 ||
        port_stack_open(unit, bytes, space_take_page))
        return true;
    port_stack_close(unit, bytes, space_give_page);
    return false;
}

static void group_close(unsigned idx, size_t slot, size_t slots)
{
    uintptr_t unit = space.base + idx * GROUP_BYTES + slot / UNIT_SLOTS * PORT_STACK_UNIT;

    if (space.groups[idx]->used[slot / UNIT_SLOTS] == 0)
        port_stack_close(unit, MAX(slots / UNIT_SLOTS, (size_t)1) * PORT_STACK_UNIT,
                         space_give_page);
}

uintptr_t stack_space_take_locked(size_t bytes)
{
    size_t slots = bytes / STACK_DEFAULT_BYTES, slot = GROUP_SLOTS;
    unsigned idx = space.first;

    CHECK(port_lock_is_held(&stack_lock));
    for (; idx < space.count; idx++) {
        if (space.groups[idx] == NULL)
            space.groups[idx] = space_take_page();
        if (space.groups[idx] == NULL)
            return 0;
        slot = group_find(space.groups[idx], slots);
        if (slot != GROUP_SLOTS)
            break;
        if (idx == space.first && slots == 1)
            space.first++;
    }
    if (idx == space.count)
        return 0;
    if (!group_open(idx, slot, slots)) {
        group_drop_if_empty(idx);
        return 0;
    }
    group_mark(space.groups[idx], slot, slots, true);
    return space.base + idx * GROUP_BYTES + slot * STACK_DEFAULT_BYTES;
}

void stack_space_give_locked(uintptr_t base, size_t bytes)
{
    size_t slots = bytes / STACK_DEFAULT_BYTES;
    unsigned idx = (unsigned)((base - space.base) / GROUP_BYTES);
    size_t slot = (base - space.base) % GROUP_BYTES / STACK_DEFAULT_BYTES;

    CHECK(stack_space_is_taken_locked(base, bytes));
    group_mark(space.groups[idx], slot, slots, false);
    group_close(idx, slot, slots);
    group_drop_if_empty(idx);
    space.first = MIN(space.first, idx);
}

/* ---- For reports and checks ---- */

bool stack_space_is_taken_locked(uintptr_t base, size_t bytes)
{
    size_t slots = bytes / STACK_DEFAULT_BYTES;
    size_t slot = (base - space.base) % GROUP_BYTES / STACK_DEFAULT_BYTES;

    if (base < space.base || (base - space.base) / GROUP_BYTES >= space.count ||
        !IS_ALIGNED(base - space.base, bytes))
        return false;

    const struct stack_group *group = space.groups[(base - space.base) / GROUP_BYTES];

    for (size_t at = slot; group != NULL && at < slot + slots; at++) {
        if ((group->used[at / UNIT_SLOTS] & group_mask(at, 1)) == 0)
            return false;
    }
    return group != NULL;
}

size_t stack_space_table_pages_locked(void)
{
    return space.table_pages;
}

static size_t unit_taken(uint8_t used)
{
    size_t taken = 0;

    for (; used != 0; used &= used - 1)
        taken++;
    return taken;
}

static void group_check(const struct stack_group *group)
{
    size_t taken = 0;

    for (size_t unit = 0; unit < GROUP_UNITS; unit++) {
        bool is_full = (group->full[unit / 64] >> unit % 64 & 1) != 0;

        taken += unit_taken(group->used[unit]);
        if (is_full != (group->used[unit] == UINT8_MAX))
            port_panic("stack: S2: unit %zu of a group is full or not", unit);
    }
    if (taken != group->taken)
        port_panic("stack: S1: %u slots are taken, %zu bits are set", group->taken, taken);
}

size_t stack_space_check_locked(void)
{
    size_t taken = 0;

    for (unsigned idx = 0; idx < space.count; idx++) {
        const struct stack_group *group = space.groups[idx];

        if (group != NULL)
            group_check(group);
        if (group != NULL && group->taken == 0)
            port_panic("stack: S3: group %u is empty and there", idx);
        if (idx < space.first && (group == NULL || group->taken != GROUP_SLOTS))
            port_panic("stack: S4: group %u has free slots, %u is the first", idx, space.first);
        taken += group != NULL ? group->taken : 0;
    }
    return taken;
}
