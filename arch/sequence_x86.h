/*
 * Every restartable sequence in x86-64 instructions; arch/sequence.h, which alone includes this, has
 * the contract, and kernel/base/seq_window.h
 * and kernel/base/seq_magazine.h say in C what each does.
 *
 * A port's arch_inline.h gives the part that finds this CPU's copy, in which %[here] is a register:
 *
 *   SEQUENCE_HERE            instructions that set %[here]; may jump to %l[miss]
 *   SEQUENCE_AT(offset)      the operand: a member of the percpu variable
 *   SEQUENCE_TOP_HERE        instructions that lead from there to word %[index] of an array of tops
 *   SEQUENCE_TOP             the operand: that top; %[top] has been loaded from it
 *   SEQUENCE_TOP_ADD(n)      add n to it by one store, the last instruction; may change %[top]
 *   SEQUENCE_WORD_HERE       instructions that lead to the magazine that %[top] speaks of; may set
 *                            %[word]
 *   SEQUENCE_WORD(offset)    the operand: so many bytes behind there
 *   SEQUENCE_INPUT(percpu)   what these need, for asm's list of inputs
 *
 * Each sequence is an asm statement that ends behind its commit, or jumps to `miss`.  The empty asm
 * behind it: without, gcc before 13 may lose outputs of asm goto (its bug 110079).
 */
#pragma once

#include "kernel/base/base.h"
#include "kernel/base/seq_log.h"
#include "kernel/base/seq_magazine.h"
#include "kernel/base/seq_window.h"

/* A sequence: how it finds its data, what it does, the one store that makes it done. */
#define SEQUENCE(body, commit) SEQUENCE_PLAIN(SEQUENCE_HERE body, commit)
#define SEQUENCE_PLAIN(body, commit)                   \
    "771:\n\t" body commit "\n772:\n\t"                \
    ".pushsection restart_table, \"a\", @progbits\n\t" \
    ".long 771b - ., 772b - .\n\t"                     \
    ".popsection"

#define SEQUENCE_STRING_(x) #x
#define SEQUENCE_STRING(x)  SEQUENCE_STRING_(x)

#define FREE_      SEQUENCE_AT(SEQUENCE_STRING(SEQ_WINDOW_FREE))
#define SINGLE_    SEQUENCE_AT(SEQUENCE_STRING(SEQ_WINDOW_SINGLE))
#define HEAD_      SEQUENCE_AT(SEQUENCE_STRING(SEQ_WINDOW_HEAD))
#define BASE_      SEQUENCE_AT(SEQUENCE_STRING(SEQ_WINDOW_BASE))
#define GIVE_BASE_ SEQUENCE_AT(SEQUENCE_STRING(SEQ_WINDOW_GIVE_BASE))
#define SHIFT_     "$" SEQUENCE_STRING(SEQ_PAGE_SHIFT)

/* 9 instructions.  `single` is set for all free pages: there it means nothing. */
static ALWAYS_INLINE bool arch_window_take_one(struct seq_window *window, void **out)
{
    uintptr_t here, addr;
    uint64_t free;

    __asm__ volatile goto(SEQUENCE("movq " FREE_ ", %[free]\n\t"
                                   "bsfq %[free], %[addr]\n\t"
                                   "jz %l[miss]\n\t"
                                   "orq %[free], " SINGLE_ "\n\t"
                                   "btrq %[addr], %[free]\n\t"
                                   "shlq " SHIFT_ ", %[addr]\n\t"
                                   "addq " BASE_ ", %[addr]\n\t",
                                   "movq %[free], " FREE_)
                          : [here] "=&r"(here), [free] "=&r"(free), [addr] "=&r"(addr)
                          : SEQUENCE_INPUT(window)
                          : "cc", "memory"
                          : miss);
    __asm__ volatile("");
    *out = (void *)addr;
    return true;
miss:
    return false;
}

/*
 * 18 instructions.  Rotated to the first free page, the run may wrap to pages below that: those are
 * not free, so it misses.
 */
static ALWAYS_INLINE bool arch_window_take_run(struct seq_window *window, size_t pages, void **out)
{
    uintptr_t here, addr;
    uint64_t free, rest, t;

    __asm__ volatile goto(
        SEQUENCE("movq " FREE_ ", %[free]\n\t"
                 "bsfq %[free], %%rcx\n\t"
                 "movswq %[others], %[rest]\n\t"
                 "rolq %%cl, %[rest]\n\t"
                 "movq %[free], %[t]\n\t"
                 "orq %[rest], %[t]\n\t"
                 "incq %[t]\n\t"
                 "jnz %l[miss]\n\t"
                 "movq " HEAD_ ", %[t]\n\t"
                 "andq %[rest], %[t]\n\t"
                 "btsq %%rcx, %[t]\n\t"
                 "movq %[t], " HEAD_ "\n\t"
                 "andq %[rest], " SINGLE_ "\n\t"
                 "andq %[rest], %[free]\n\t"
                 "shlq " SHIFT_ ", %%rcx\n\t"
                 "addq " BASE_ ", %%rcx\n\t",
                 "movq %[free], " FREE_)
        : [here] "=&r"(here), [free] "=&r"(free), [rest] "=&r"(rest), [t] "=&r"(t), "=&c"(addr)
        : [others] "m"(seq_window_others[pages]), SEQUENCE_INPUT(window)
        : "cc", "memory"
        : miss);
    __asm__ volatile("");
    *out = (void *)addr;
    return true;
miss:
    return false;
}

/* 13 instructions. */
static ALWAYS_INLINE bool arch_window_give_one(struct seq_window *window, void *addr)
{
    uintptr_t here;
    uint64_t free, bit, t;

    __asm__ volatile goto(SEQUENCE("movq %[addr], %[bit]\n\t"
                                   "subq " GIVE_BASE_ ", %[bit]\n\t"
                                   "rorq " SHIFT_ ", %[bit]\n\t"
                                   "cmpq $63, %[bit]\n\t"
                                   "ja %l[miss]\n\t"
                                   "movq " SINGLE_ ", %[t]\n\t"
                                   "btq %[bit], %[t]\n\t"
                                   "jnc %l[miss]\n\t"
                                   "movq " FREE_ ", %[free]\n\t"
                                   "btsq %[bit], %[free]\n\t"
                                   "jc %l[miss]\n\t",
                                   "movq %[free], " FREE_)
                          : [here] "=&r"(here), [free] "=&r"(free), [bit] "=&r"(bit), [t] "=&r"(t)
                          : [addr] "r"(addr), SEQUENCE_INPUT(window)
                          : "cc", "memory"
                          : miss);
    __asm__ volatile("");
    return true;
miss:
    return false;
}

/*
 * 24 instructions.  `begins` is where a run or a free page begins; rotated to the first page, the
 * next 1 is where the run ends.  Page 0 always begins something, so the end of the window counts.
 */
static ALWAYS_INLINE bool arch_window_give_run(struct seq_window *window, void *addr, size_t pages)
{
    uintptr_t here;
    uint64_t free, begins, t, bit;

    __asm__ volatile goto(
        SEQUENCE("movq %[addr], %%rcx\n\t"
                 "subq " GIVE_BASE_ ", %%rcx\n\t"
                 "rorq " SHIFT_ ", %%rcx\n\t"
                 "cmpq $63, %%rcx\n\t"
                 "ja %l[miss]\n\t"
                 "movq " FREE_ ", %[free]\n\t"
                 "btq %%rcx, %[free]\n\t"
                 "jc %l[miss]\n\t"
                 "movq %[free], %[begins]\n\t"
                 "orq " SINGLE_ ", %[begins]\n\t"
                 "orq " HEAD_ ", %[begins]\n\t"
                 "rorq %%cl, %[begins]\n\t"
                 "btrq $0, %[begins]\n\t"
                 "jnc %l[miss]\n\t"
                 "bsfq %[begins], %[t]\n\t"
                 "cmpq %[pages], %[t]\n\t"
                 "jne %l[miss]\n\t"
                 "leaq -1(%[begins]), %[t]\n\t" /* with begins: the run and one more */
                 "xorq %[begins], %[t]\n\t"
                 "shrq $1, %[t]\n\t"
                 "shlq %%cl, %[t]\n\t"
                 "orq %[t], %[free]\n\t",
                 "movq %[free], " FREE_)
        : [here] "=&r"(here), [free] "=&r"(free), [begins] "=&r"(begins), [t] "=&r"(t), "=&c"(bit)
        : [addr] "r"(addr), [pages] "r"(pages), SEQUENCE_INPUT(window)
        : "cc", "memory"
        : miss);
    __asm__ volatile("");
    return true;
miss:
    return false;
}

/* 6 instructions where the port commits by one.  The caller clears the token. */
static ALWAYS_INLINE bool arch_magazine_pop(uintptr_t *tops, uintptr_t index, void **out)
{
    uintptr_t here, top, word;
    void *slot;

    /* clang-format off */
    __asm__ volatile goto(
        SEQUENCE(SEQUENCE_TOP_HERE
                 "movq " SEQUENCE_TOP ", %[top]\n\t"
                 SEQUENCE_WORD_HERE
                 "movq " SEQUENCE_WORD(SEQ_CLOSED_TOP) ", %[slot]\n\t"
                 "leaq %c[secret](%[slot],%[slot]), %[word]\n\t" /* its token */
                 "cmpq %[word], (%[slot])\n\t"
                 "jne %l[miss]\n\t",
                 SEQUENCE_TOP_ADD("-8"))
        /* clang-format on */
        : [here] "=&r"(here), [top] "=&r"(top), [slot] "=&a"(slot), [word] "=&r"(word)
        : [index] "r"(index), [secret] "i"(SEQ_TOKEN), SEQUENCE_MAGAZINE_INPUT(tops)
        : "cc", "memory"
        : miss);
    __asm__ volatile("");
    *(uint64_t *)slot = 0;
    *out = slot;
    return true;
miss:
    return false;
}

/* Likewise. */
static ALWAYS_INLINE bool arch_magazine_push(uintptr_t *tops, uintptr_t index, void *slot,
                                             uint64_t token)
{
    uintptr_t here, top, word;

    /* clang-format off */
    __asm__ volatile goto(
        SEQUENCE(SEQUENCE_TOP_HERE
                 "movq " SEQUENCE_TOP ", %[top]\n\t"
                 "testb %b[top], %b[top]\n\t"
                 "jz %l[miss]\n\t"
                 "movq %[token], (%[slot])\n\t"
                 SEQUENCE_WORD_HERE
                 "movq %[slot], " SEQUENCE_WORD(SEQ_CLOSED_ABOVE) "\n\t",
                 SEQUENCE_TOP_ADD("8"))
        /* clang-format on */
        : [here] "=&r"(here), [top] "=&r"(top), [word] "=&r"(word)
        : [index] "r"(index), [slot] "r"(slot), [token] "r"(token), SEQUENCE_MAGAZINE_INPUT(tops)
        : "cc", "memory"
        : miss);
    return true;
miss:
    return false;
}

/* 3 instructions, with no data of this CPU. */
static ALWAYS_INLINE bool arch_store_unless(const _Atomic bool *flag, void *slot, void *value)
{
    __asm__ volatile goto(SEQUENCE_PLAIN("cmpb $0, %[flag]\n\t"
                                         "jne %l[miss]\n\t",
                                         "movq %[value], (%[slot])")
                          :
                          : [flag] "m"(*flag), [slot] "r"(slot), [value] "r"(value)
                          : "cc", "memory"
                          : miss);
    return true;
miss:
    return false;
}

#undef FREE_
#undef SINGLE_
#undef HEAD_
#undef BASE_
#undef GIVE_BASE_
#undef SHIFT_

#define LOG_NEXT_  SEQUENCE_AT(SEQUENCE_STRING(SEQ_LOG_NEXT))
#define LOG_LIMIT_ SEQUENCE_AT(SEQUENCE_STRING(SEQ_LOG_LIMIT))

static ALWAYS_INLINE bool arch_store_logged(const _Atomic bool *flag, struct seq_log *log,
                                            void *_Atomic *slot, void *value)
{
    uintptr_t here, next, old;

    __asm__ volatile goto(SEQUENCE("cmpb $0, %[flag]\n\t"
                                   "je %l[miss]\n\t"
                                   "movq " LOG_NEXT_ ", %[next]\n\t"
                                   "cmpq " LOG_LIMIT_ ", %[next]\n\t"
                                   "jae %l[miss]\n\t"
                                   "movq (%[slot]), %[old]\n\t"
                                   "movq %[old], (%[next])\n\t"
                                   "movq %[value], 8(%[next])\n\t"
                                   "addq $16, " LOG_NEXT_ "\n\t",
                                   "movq %[value], (%[slot])")
                          : [here] "=&r"(here), [next] "=&r"(next), [old] "=&r"(old)
                          : [flag] "m"(*flag), [slot] "r"(slot), [value] "r"(value),
                            SEQUENCE_INPUT(log)
                          : "cc", "memory"
                          : miss);
    return true;
miss:
    return false;
}

#undef LOG_NEXT_
#undef LOG_LIMIT_
