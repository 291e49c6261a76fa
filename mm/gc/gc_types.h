/*
 * Types, pointers and roots of the collected heap: what its user declares.  All of it is data that
 * the compiler and the linker lay out; nothing here runs before the collector does.
 *
 *     struct node {
 *         GC_PTR(struct node) left, right;    a pointer to a collected object, or NULL
 *         GC_PTR(struct node) kids[4];
 *         long key;
 *     };
 *     GC_TYPE(node, struct node, left, right, kids);    in one .c file
 *     GC_TYPE_EXTERN(node, struct node);                in a header, if others allocate it
 *     GC_ROOT(struct node, tree);                       also: static, extern
 *
 *     struct node *n = gc_new(node);
 *     gc_store(&n->left, gc_load(&tree));
 *
 * Pointers.  Every store to one goes through the barrier, so the compiler must refuse any other.  C
 * has no struct type that is the same each time it is written and differs by what it points to, but
 * arrays are so, and nothing can be assigned to an array: a GC_PTR is one of 1 x 1 constant
 * pointers.  The const makes a struct that holds one impossible to assign too: `*a = *b` would be as
 * many stores without a barrier.  A root is the same without const, as a constant would be read-only
 * memory; its address may stand where that of a GC_PTR is asked for:
 *
 *     GC_PTR(struct node) *slot = &tree;
 *     while ((n = gc_load(slot)) != NULL)
 *         slot = key < n->key ? &n->left : &n->right;
 *
 * What the compiler does not see: as of any array, `a->left == b->left` compares addresses of fields,
 * and memcpy copies.  (A GC_PTR alone, outside of a struct, is a constant: that is what GC_ROOT is
 * for.)
 *
 * Types.  A descriptor says where in an object its pointers stand, as runs of words; the linker
 * gathers pointers to all descriptors in a table.  A field that was forgotten would be a pointer
 * that the collector does not see: types.sh, which every link calls, compares the lists here with
 * the debug information.  For that, beside the descriptor:
 *
 *     gc_types    the table's pointer, gc_entry_NAME, declared as one to the object: so the debug
 *                 information leads from the type's name to the struct
 *     gc_lists    FILE:LINE|MACRO|NAME|FIELDS as text; not in the image
 *
 * Not here: allocation (gc.h), the barrier (barrier.h).
 */
#pragma once

#include <stdatomic.h>
#include "kernel/base/base.h"

/* ---- Pointers ---- */

/* The type of a field that points to a collected object of type `tag`, a type name. */
#define GC_PTR(tag) __typeof__(tag *const[1][1])

/*
 * A root: a global variable that points to a collected object, NULL at first.  The name may have
 * bounds: GC_ROOT(struct node, heads[8]).  Roots lie side by side in the section gc_roots; words of
 * it that are no root are NULL.
 */
#define GC_ROOT(tag, name) __typeof__(tag *[1][1]) name SECTION("gc_roots")

/* What a slot holds, struct tag *; and the slot itself, if it is the address of a GC_PTR or root. */
#define GC_VALUE(slot) __typeof__((void)0, ***(slot))
#define GC_SLOT(slot) \
    _Generic((slot), GC_VALUE(slot)(*)[1][1] : (slot), GC_VALUE(slot) const(*)[1][1] : (slot))

/* The value as void *, if it is of the slot's type or NULL; of void * slots: any pointer. */
#define GC_VALUE_FOR(slot, value)                             \
    ((void)sizeof(__typeof__(*(value)) *), /* a pointer */    \
     (void *)_Generic(1 ? (value) : ***(slot), GC_VALUE(slot) \
                      : (value)))

/*
 * gc_load(slot) -- what a GC_PTR or root holds, as struct tag *.  Each argument of this, of gc_store and
 * of gc_cas is evaluated once.
 *   order    acquire, as gc_store's is release
 *   context  any
 */
#define gc_load(slot) ((GC_VALUE(slot))gc_load_word((void *const *)**GC_SLOT(slot)))

/*
 * gc_store(slot, value) -- change a GC_PTR or root, through the barrier (gc_store_word, barrier.h).
 * A value of another type than the slot's does not compile; NULL does.
 */
#define gc_store(slot, value) \
    gc_store_word((void *_Atomic *)**GC_SLOT(slot), GC_VALUE_FOR(slot, value))

/*
 * gc_cas(slot, expected, value) -- the same if it holds `expected`, as one step.
 *   returns  false: it holds something else, and nothing has changed
 *   order    acquire and release, if it is done
 *   context  irq
 */
#define gc_cas(slot, expected, value)                                           \
    gc_cas_word((void *_Atomic *)**GC_SLOT(slot), GC_VALUE_FOR(slot, expected), \
                GC_VALUE_FOR(slot, value))

static inline void *gc_load_word(void *const *word)
{
    return atomic_load_explicit((void *const _Atomic *)word, memory_order_acquire);
}

/* ---- Types ---- */

enum gc_type_flags {
    GC_NOSCAN = 1,       /* no word of it is a pointer */
    GC_CONSERVATIVE = 2, /* any aligned word of it may be one */
};

/* Pointers side by side in an object. */
struct gc_run {
    uint32_t offset; /* bytes, of the first; a multiple of 8 */
    uint32_t words;  /* pointers, > 0 */
};

/*
 * A type.  The last two members are the collector's.  It sets them of all types when it starts: on a
 * hosted machine that starts again, a program's types still have those of the machine before.
 *
 * Invariant, by types.sh: the runs are all of the struct's GC_PTRs, each once, unless GC_CONSERVATIVE.
 */
struct gc_type {
    const char *name;          /* [C] as in GC_TYPE */
    const struct gc_run *runs; /* [C] in the order of GC_TYPE's list; NULL: none */
    uint32_t run_count;        /* [C] */
    uint32_t pointer_count;    /* [C] words of all runs */
    uint32_t bytes, align;     /* [C] of an object; align is a power of two */
    uint16_t flags;            /* [C] enum gc_type_flags */
    _Atomic uint16_t index;    /* run-time, relaxed; 0: not used so far */
    void *owner;               /* run-time; NULL: not used so far */
};

/* From the linker; weak, since an image may have no types or roots. */
extern struct gc_type *const __start_gc_types[] __attribute__((weak));
extern struct gc_type *const __stop_gc_types[] __attribute__((weak));
extern void *__start_gc_roots[] __attribute__((weak));
extern void *__stop_gc_roots[] __attribute__((weak));

/*
 * GC_TYPE(name, struct tag, field...) -- define gc_type_NAME: objects of struct tag, whose pointers
 * are these fields, 1 .. 32 of them.  A member of an embedded struct is listed as sub.field, one of
 * an array of structs as sub[2].field; an array of GC_PTRs as a whole.  At file scope.
 *
 * GC_TYPE_NOSCAN(name, struct tag) -- one that has none.
 *
 * GC_TYPE_CONSERVATIVE(name, struct tag) -- one where any aligned word may be a pointer: for unions.
 *
 * GC_TYPE_EXTERN(name, struct tag) -- declare gc_type_NAME, for gc_new in other files.
 */
#define GC_TYPE(name, tag, ...)                                                                   \
    _Static_assert(((0 GC_EACH(GC_OFFSET, tag, __VA_ARGS__)) & (sizeof(void *) - 1)) == 0 &&      \
                       _Alignof(tag) >= _Alignof(void *),                                         \
                   #name ": a packed struct's pointers are not aligned");                         \
    static const struct gc_run gc_runs_##name[] = {GC_EACH(GC_RUN, tag, __VA_ARGS__)};            \
    GC_LIST("GC_TYPE|" #name "|" #__VA_ARGS__);                                                   \
    GC_DEFINE(name, #name, tag, .runs = gc_runs_##name, .run_count = ARRAY_COUNT(gc_runs_##name), \
              .pointer_count = 0 GC_EACH(GC_WORDS, tag, __VA_ARGS__))
#define GC_TYPE_NOSCAN(name, tag)         \
    GC_LIST("GC_TYPE_NOSCAN|" #name "|"); \
    GC_DEFINE(name, #name, tag, .flags = GC_NOSCAN)
#define GC_TYPE_CONSERVATIVE(name, tag)         \
    GC_LIST("GC_TYPE_CONSERVATIVE|" #name "|"); \
    GC_DEFINE(name, #name, tag, .flags = GC_CONSERVATIVE)
#define GC_TYPE_EXTERN(name, tag) \
    typedef tag gc_object_##name; \
    extern struct gc_type gc_type_##name

/* GC_DEFINE(name, text, tag, .member = value...) */
#define GC_DEFINE(name_, text, tag, ...)                                          \
    GC_TYPE_EXTERN(name_, tag);                                                   \
    struct gc_type gc_type_##name_ = {                                            \
        .name = text, .bytes = sizeof(tag), .align = _Alignof(tag), __VA_ARGS__}; \
    static gc_object_##name_ *const gc_entry_##name_ USED SECTION("gc_types") =   \
        (void *)&gc_type_##name_

#define GC_LIST(text)                                          \
    __asm__(".pushsection gc_lists, \"\"\n .asciz \"" __FILE__ \
            ":" GC_LINE(__LINE__) "|" text "\"\n .popsection")
#define GC_LINE(line)  GC_LINE_(line)
#define GC_LINE_(line) #line

#define GC_OFFSET(tag, field) | __builtin_offsetof(tag, field)
#define GC_WORDS(tag, field)  +sizeof(((tag *)0)->field) / sizeof(void *)
#define GC_RUN(tag, field)    {__builtin_offsetof(tag, field), 0 GC_WORDS(tag, field)},

/* ---- Allocation ---- */

/*
 * gc_new(name) -- an object of GC_TYPE(name, struct tag, ...), all zero.
 * gc_new_array(name, n) -- n of them side by side, as one object; 0 gives NULL.
 *   returns  struct tag *; NULL when memory is exhausted even after a cycle, or n times the object's
 *            bytes overflow
 *   context  any but NMI; waits for a cycle in a thread only
 */
#define gc_new(name)          ((gc_object_##name *)gc_alloc_typed(&gc_type_##name))
#define gc_new_array(name, n) ((gc_object_##name *)gc_alloc_array(&gc_type_##name, (n)))

void *gc_alloc_typed(struct gc_type *type);
void *gc_alloc_array(struct gc_type *type, size_t n);

/* ---- GC_EACH(m, tag, field...): m(tag, field) for each of 1 .. 32 fields ---- */

/* clang-format off */
#define GC_EACH(m, t, ...) GC_EACH_(__VA_ARGS__, \
    32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, \
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1)(m, t, __VA_ARGS__)
#define GC_EACH_(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, \
    a17, a18, a19, a20, a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32, n, ...) GC_EACH_##n
#define GC_EACH_1(m, t, f) m(t, f)
#define GC_EACH_2(m, t, f, ...) m(t, f) GC_EACH_1(m, t, __VA_ARGS__)
#define GC_EACH_3(m, t, f, ...) m(t, f) GC_EACH_2(m, t, __VA_ARGS__)
#define GC_EACH_4(m, t, f, ...) m(t, f) GC_EACH_3(m, t, __VA_ARGS__)
#define GC_EACH_5(m, t, f, ...) m(t, f) GC_EACH_4(m, t, __VA_ARGS__)
#define GC_EACH_6(m, t, f, ...) m(t, f) GC_EACH_5(m, t, __VA_ARGS__)
#define GC_EACH_7(m, t, f, ...) m(t, f) GC_EACH_6(m, t, __VA_ARGS__)
#define GC_EACH_8(m, t, f, ...) m(t, f) GC_EACH_7(m, t, __VA_ARGS__)
#define GC_EACH_9(m, t, f, ...) m(t, f) GC_EACH_8(m, t, __VA_ARGS__)
#define GC_EACH_10(m, t, f, ...) m(t, f) GC_EACH_9(m, t, __VA_ARGS__)
#define GC_EACH_11(m, t, f, ...) m(t, f) GC_EACH_10(m, t, __VA_ARGS__)
#define GC_EACH_12(m, t, f, ...) m(t, f) GC_EACH_11(m, t, __VA_ARGS__)
#define GC_EACH_13(m, t, f, ...) m(t, f) GC_EACH_12(m, t, __VA_ARGS__)
#define GC_EACH_14(m, t, f, ...) m(t, f) GC_EACH_13(m, t, __VA_ARGS__)
#define GC_EACH_15(m, t, f, ...) m(t, f) GC_EACH_14(m, t, __VA_ARGS__)
#define GC_EACH_16(m, t, f, ...) m(t, f) GC_EACH_15(m, t, __VA_ARGS__)
#define GC_EACH_17(m, t, f, ...) m(t, f) GC_EACH_16(m, t, __VA_ARGS__)
#define GC_EACH_18(m, t, f, ...) m(t, f) GC_EACH_17(m, t, __VA_ARGS__)
#define GC_EACH_19(m, t, f, ...) m(t, f) GC_EACH_18(m, t, __VA_ARGS__)
#define GC_EACH_20(m, t, f, ...) m(t, f) GC_EACH_19(m, t, __VA_ARGS__)
#define GC_EACH_21(m, t, f, ...) m(t, f) GC_EACH_20(m, t, __VA_ARGS__)
#define GC_EACH_22(m, t, f, ...) m(t, f) GC_EACH_21(m, t, __VA_ARGS__)
#define GC_EACH_23(m, t, f, ...) m(t, f) GC_EACH_22(m, t, __VA_ARGS__)
#define GC_EACH_24(m, t, f, ...) m(t, f) GC_EACH_23(m, t, __VA_ARGS__)
#define GC_EACH_25(m, t, f, ...) m(t, f) GC_EACH_24(m, t, __VA_ARGS__)
#define GC_EACH_26(m, t, f, ...) m(t, f) GC_EACH_25(m, t, __VA_ARGS__)
#define GC_EACH_27(m, t, f, ...) m(t, f) GC_EACH_26(m, t, __VA_ARGS__)
#define GC_EACH_28(m, t, f, ...) m(t, f) GC_EACH_27(m, t, __VA_ARGS__)
#define GC_EACH_29(m, t, f, ...) m(t, f) GC_EACH_28(m, t, __VA_ARGS__)
#define GC_EACH_30(m, t, f, ...) m(t, f) GC_EACH_29(m, t, __VA_ARGS__)
#define GC_EACH_31(m, t, f, ...) m(t, f) GC_EACH_30(m, t, __VA_ARGS__)
#define GC_EACH_32(m, t, f, ...) m(t, f) GC_EACH_31(m, t, __VA_ARGS__)
/* clang-format on */
