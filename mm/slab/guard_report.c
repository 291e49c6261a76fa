/*
 * Reports of the guard pool: what an address is, who allocated what is there, who freed it.  The
 * machine is about to stop, perhaps by a trap that hit while the lock was held: so all of this only
 * reads, without the lock, and what it shows of a slot that changes just then is a good guess.
 *
 * An access to a page between objects is blamed on the nearer one of its two neighbours, on one in
 * use before one that was freed.
 */
#include "kernel/base/format.h"
#include "mm/slab/guard_impl.h"

#define REPORT_LINE_BYTES  200
#define REPORT_BYTES_SHOWN 8u

/* What is wrong, and how it is said of an address that was given to a function. */
static const struct {
    const char *name, *link;
} report_kinds[] = {
    [GUARD_OUT_OF_BOUNDS] = {"out of bounds", " of"},
    [GUARD_USE_AFTER_FREE] = {"use after free", " of"},
    [GUARD_WILD] = {"no object", " at"},
    [GUARD_DOUBLE_FREE] = {"double free", " of"},
    [GUARD_INVALID_FREE] = {"invalid free", " of"},
    [GUARD_WRONG_CACHE] = {"wrong cache", " for"},
    [GUARD_CORRUPTION] = {"corruption", " found at"},
};

static const char *const report_states[] = {
    [GUARD_UNUSED] = "no object",
    [GUARD_LIVE] = "in use",
    [GUARD_FREEING] = "in use, being freed",
    [GUARD_FREED] = "freed",
};

/* Bytes from an address outside of an object to its nearest byte. */
static size_t report_distance(const struct guard_object *object, uintptr_t addr)
{
    return addr < object->addr ? object->addr - addr : addr - object->addr - object->bytes + 1;
}

static bool report_is_nearer(const struct guard_record *a, const struct guard_record *b,
                             uintptr_t addr)
{
    bool a_lives = a->state == GUARD_LIVE, b_lives = b->state == GUARD_LIVE;

    if (a_lives != b_lives)
        return a_lives;
    return report_distance(&a->object, addr) < report_distance(&b->object, addr);
}

/* The record to blame for an access to an address of the pool; NULL: none is near. */
static const struct guard_record *report_record(uintptr_t addr)
{
    const struct guard_record *found = guard_record_of(addr);

    if (found == NULL) {
        const struct guard_record *before = NULL, *behind = NULL;

        if (addr - guard_base >= PAGE_BYTES)
            before = guard_record_of(addr - PAGE_BYTES);
        if (addr - guard_base < PORT_GUARD_BYTES - PAGE_BYTES)
            behind = guard_record_of(addr + PAGE_BYTES);
        if (before != NULL && before->state == GUARD_UNUSED)
            before = NULL;
        if (behind != NULL && behind->state == GUARD_UNUSED)
            behind = NULL;
        found = before;
        if (behind != NULL && (before == NULL || report_is_nearer(behind, before, addr)))
            found = behind;
    }
    return found != NULL && found->state != GUARD_UNUSED ? found : NULL;
}

static void report_event(const char *what, const struct guard_event *event)
{
    if (event->number == 0)
        return;
    port_print("  %s on CPU %u, event %zu of the pool, by:\n", what, event->cpu,
               (size_t)event->number);
    port_backtrace_print(event->frames, MIN(event->frame_count, GUARD_FRAMES));
}

static void report_record_print(const struct guard_record *record)
{
    const struct guard_object *object = &record->object;

    port_print("guard: object 0x%zx of %zu bytes in %s, slot %zu of %zu, %s\n",
               (size_t)object->addr, object->bytes, object->cache,
               (size_t)(record - guard_pool.records), guard_pool.slots,
               report_states[record->state]);
    report_event("allocated", &object->alloc);
    report_event("freed", &object->free);
}

void guard_live_print(const void *owner)
{
    for (size_t slot = 0; slot < guard_pool.slots; slot++) {
        if (guard_record_is_live_of(&guard_pool.records[slot], owner))
            report_record_print(&guard_pool.records[slot]);
    }
}

/* Where an address lies, seen from an object. */
static void report_place(const struct guard_record *record, uintptr_t addr, char *text,
                         size_t bytes)
{
    if (record == NULL) {
        format_string(text, bytes, "no object is near");
        return;
    }

    const struct guard_object *object = &record->object;

    if (addr - object->addr < object->bytes) {
        format_string(text, bytes, "byte %zu of object 0x%zx, %zu bytes, %s",
                      (size_t)(addr - object->addr), (size_t)object->addr, object->bytes,
                      object->cache);
        return;
    }

    size_t distance = report_distance(object, addr);

    format_string(text, bytes, "%zu byte%s %s object 0x%zx, %zu bytes, %s", distance,
                  distance == 1 ? "" : "s", addr < object->addr ? "before" : "behind",
                  (size_t)object->addr, object->bytes, object->cache);
}

static enum guard_kind report_kind_of_fault(const struct guard_record *record, uintptr_t addr)
{
    if (record == NULL)
        return GUARD_WILD;
    if (guard_record_of(addr) == NULL)
        return GUARD_OUT_OF_BOUNDS;
    return record->state == GUARD_LIVE ? GUARD_WILD : GUARD_USE_AFTER_FREE;
}

bool guard_explain_fault(uintptr_t addr, bool is_write, char *text, size_t bytes)
{
    const struct guard_record *record;
    char place[REPORT_LINE_BYTES];

    if (!guard_owns((const void *)addr))
        return false;
    record = report_record(addr);
    if (record != NULL)
        report_record_print(record);
    report_place(record, addr, place, sizeof(place));
    format_string(text, bytes, "guard: %s, %s of 0x%zx: %s",
                  report_kinds[report_kind_of_fault(record, addr)].name,
                  is_write ? "write" : "read", (size_t)addr, place);
    return true;
}

/* What stands there in place of the pattern. */
static void report_damage(const uint8_t *damage)
{
    uintptr_t page_end = ALIGN_DOWN((uintptr_t)damage, PAGE_BYTES) + PAGE_BYTES;
    size_t count = MIN(page_end - (uintptr_t)damage, (size_t)REPORT_BYTES_SHOWN), used = 0;
    char text[3 * REPORT_BYTES_SHOWN + 1] = "", pattern[3 * REPORT_BYTES_SHOWN + 1] = "";

    for (size_t i = 0; i < count; i++) {
        uint8_t expected = (uint8_t)(GUARD_PATTERN >> 8 * ((uintptr_t)(damage + i) % 8));

        format_string(pattern + used, sizeof(pattern) - used, " %02x", expected);
        used += format_string(text + used, sizeof(text) - used, " %02x", damage[i]);
    }
    port_print("  found%s, expected%s\n", text, pattern);
}

void guard_misuse(const char *caller, enum guard_kind kind, const void *p)
{
    const struct guard_record *record = report_record((uintptr_t)p);
    char place[REPORT_LINE_BYTES];

    if (record != NULL)
        report_record_print(record);
    if (kind == GUARD_CORRUPTION)
        report_damage(p);
    report_place(record, (uintptr_t)p, place, sizeof(place));
    port_panic("guard: %s: %s%s 0x%zx: %s", caller, report_kinds[kind].name,
               report_kinds[kind].link, (size_t)p, place);
}
