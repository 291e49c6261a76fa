/*
 * cycle.pml -- the collector's cycle and its barrier, for spin: two mutators, a mark worker, a
 * collector.  `make model` checks that it is right and that each part of it is needed.
 *
 * THE CYCLE, and where each step is in the code:
 *   (0) sweep to the end; all mark bits are 0                       cycle.c
 *   (1) barrier on; handshake 1                                     cycle.c, barrier.h
 *   (2) black allocation on; handshake 2: each CPU marks the slots in its magazine
 *   (3) roots: globals are queued; each thread is scanned once, by interrupting its CPU or,
 *       while it is on none, where it lies
 *   (4) mark: the worker takes a marked object from the queue and marks what it points to; it
 *       may from handshake 1 on, not earlier
 *   (5) rounds: forget what is new; wait until the queue is empty, then until no worker has an
 *       object in hand; handshake in which each CPU flushes its barrier buffer; read queue, hands,
 *       news, in this order; over if there is none of them.  A CPU whose barrier buffer is full
 *       flushes by itself: it says that there is news before it sets a mark bit, and again when
 *       it has queued the object
 *   (6) barrier off; handshake 3: barrier buffers are emptied.  Then at once, with one store,
 *       black allocation off and all spans unswept
 *
 * THE STATE.  Objects are 1 .. OBJECTS of one field each; object 0, which is NULL where it is a
 * value, is the globals where it is an address.  Sets are masks of bits.  An object is free, in a
 * magazine, or handed out (`used`: the last two), and is a span of its own, so that `unswept` is
 * a bit for each.  A mutator is a thread and its CPU: what its registers and stack hold is a set,
 * its magazine has one slot, its barrier buffer is a set, its store buffer (x86-TSO) one entry
 * that drains at any moment and before its next store.  `sees` is its view of the barrier flag,
 * which may be late until a handshake makes it look: so the model is right for a flag that all
 * CPUs share, and for one in each CPU's own memory.
 *
 * A HANDSHAKE is one step of the collector: it waits where it likes, then the CPU answers.  It
 * drains the store buffer, and takes a restartable sequence back to its start.  It cannot come
 * while the CPU flushes (`marking`), which is done with interrupts off.
 *
 * WHAT IS ASSERTED.  What is swept is not reachable.  When a cycle starts nothing is marked,
 * queued or in a barrier buffer.  What was unreachable when a cycle started is freed by its sweep
 * (COMPLETE).  Rounds end: one fails only if since the last began some CPU has announced an object
 * (each of two CPUs may, where both flush it) or queued one; so 3 * OBJECTS of them can.  Nothing
 * waits for ever (spin's invalid end states).
 *
 * WHAT IS NOT HERE.  Objects of more fields, interior and conservative pointers, spans of more
 * slots, several workers, threads that change CPU, the collector's own store buffer (a locked
 * instruction in each handshake drains it; it only stores between them), and other ways for a
 * pointer to go from thread to thread than through memory stored to with the barrier: what the
 * kernel passes by itself (a channel's buffer, a new thread's argument) must be shaded or scanned.
 *
 * CHOICES.  FIFO, MAGAZINE, SELF are masks of the mutators that have a store buffer, a magazine, a
 * barrier buffer that may fill up and be flushed at any moment; all of these at once, with two
 * objects, are too many states, so run.sh checks them in turn.  Each variant that is broken is
 * a macro, said at its place.
 *
 * Source: Doligez, Leroy, Gonthier 1993 and 1994; Gammie, Hosking, Engelhardt, "Relaxing safely",
 * PLDI 2015; Go's hybrid barrier.
 */
#ifndef OBJECTS
#define OBJECTS 2
#endif
#ifndef FIFO
#define FIFO 0
#endif
#ifndef MAGAZINE
#define MAGAZINE 0
#endif
#ifndef SELF
#define SELF 0
#endif

#define HAS(mask, i) (((mask) >> i) & 1)
#define BIT(o) (1 << (o))
#define GLOBALS 0
#define ALL (BIT(OBJECTS + 1) - 2)
#define ROUNDS (3 * OBJECTS + 1)

/* A broken variant has to free what is reachable; that it fails in another way is not enough. */
#ifdef FREED_ONLY
#define ALSO(x) skip
#else
#define ALSO(x) assert(x)
#endif

/* The heap: memory as all see it; sets of objects. */
byte field[OBJECTS + 1];
byte used, mark, grey, unswept;

/* The collector's flags; newly: something was marked; busy: a worker has an object in hand. */
bool barrier, black, newly, busy;

/* The mutators; bit 0 of `held` is always set: globals as address, NULL as value. */
byte held[2] = { 1, 1 };
byte magazine[2];
byte shaded[2];
bool sees[2];
bool buffered[2];
byte buffered_at[2], buffered_value[2];

/* A flush in progress: 0, or the object announced; plus MARKED when its bit is set. */
#define MARKED 4
byte marking[2];

/* A store in progress: the flag has been read, as clear or set. */
#define FLAG_CLEAR 1
#define FLAG_SET 2
byte storing[2];

#ifdef COMPLETE
byte dead; /* unreachable when this cycle started, not yet swept */
#endif

#ifdef FLAG_SHARED /* one flag for all, without delay */
#define SEES(i) barrier
#else
#define SEES(i) sees[i]
#endif

/* Interrupts are on, no restartable sequence is under way. */
#define QUIET(i) (storing[i] == 0 && marking[i] == 0)

#ifdef NO_DELETION
#define OLD(x) 0
#else
#define OLD(x) BIT(field[x])
#endif
#ifdef NO_INSERTION
#define NEW(y) 0
#else
#define NEW(y) BIT(y)
#endif

/* Some member of a set that has one. */
inline pick(x, set)
{
    if
    :: ((set) & 1) -> x = 0
    :: ((set) & 2) -> x = 1
    :: ((set) & 4) -> x = 2
    fi
}

#define BEHIND(set, o) (((set) & BIT(o)) != 0 -> BIT(field[o]) : 0)

/* All that can be reached from threads, their store buffers, magazines and globals. */
inline reachable(set)
{
    set = held[0] | held[1] | BIT(magazine[0]) | BIT(magazine[1]) | BIT(buffered_at[0]) |
          BIT(buffered_at[1]) | BIT(buffered_value[0]) | BIT(buffered_value[1]) |
          BIT(field[GLOBALS]);
    set = set | BEHIND(set, 1);
#if OBJECTS > 1
    set = set | BEHIND(set, 2);
    set = set | BEHIND(set, 1);
#endif
    set = set & ALL
}

/* Mark and queue what is white in a set; of each mark bit, a locked instruction. */
inline shade(set)
{
    if
    :: ((set) & ALL & ~mark) != 0 ->
        newly = 1;
        grey = grey | ((set) & ALL & ~mark);
        mark = mark | ((set) & ALL)
    :: else
    fi
}

/* Under the span's lock. */
inline sweep(o, live)
{
    if
    :: (used & ~mark & BIT(o)) != 0 ->
        reachable(live);
        assert((live & BIT(o)) == 0);
        live = 0;
        used = used & ~BIT(o);
        field[o] = 0
    :: else
#ifdef COMPLETE
        ; ALSO((dead & BIT(o)) == 0)
#endif
    fi;
#ifdef COMPLETE
    dead = dead & ~BIT(o);
#endif
    mark = mark & ~BIT(o);
    unswept = unswept & ~BIT(o)
}

inline drain(i)
{
    if
    :: buffered[i] ->
        field[buffered_at[i]] = buffered_value[i];
        buffered[i] = 0; buffered_at[i] = 0; buffered_value[i] = 0
    :: else
    fi
}

proctype mutator(bit i)
{
    byte x, y;
    bool with_barrier;

    do
    :: atomic { /* gc_load: a store of its own comes first */
        QUIET(i) ->
        pick(x, held[i]);
        y = (buffered[i] && buffered_at[i] == x -> buffered_value[i] : field[x]);
        held[i] = held[i] | BIT(y);
        x = 0; y = 0
       }
#ifdef NOT_ATOMIC
    :: d_step { /* gc_store: the flag, and what is done about it, apart */
        QUIET(i) && !buffered[i] ->
        storing[i] = (SEES(i) -> FLAG_SET : FLAG_CLEAR)
       }
    :: atomic {
        storing[i] != 0 && !buffered[i] ->
        with_barrier = (storing[i] == FLAG_SET);
        storing[i] = 0;
#else
    :: atomic { /* gc_store: `sees` may be late, so nothing is lost if it is read in this step */
        QUIET(i) && !buffered[i] ->
        with_barrier = SEES(i);
#endif
        pick(x, held[i]);
        pick(y, held[i]);
        if
        :: with_barrier -> shaded[i] = (shaded[i] | OLD(x) | NEW(y)) & ~1
        :: else
        fi;
        if
        :: HAS(FIFO, i) -> buffered[i] = 1; buffered_at[i] = x; buffered_value[i] = y
        :: else -> field[x] = y
        fi;
        with_barrier = 0; x = 0; y = 0
       }
    :: d_step { buffered[i] -> drain(i) }
    :: d_step { /* gc_new */
        QUIET(i) && magazine[i] != 0 ->
        held[i] = held[i] | BIT(magazine[i]);
        magazine[i] = 0
       }
    :: atomic { /* refill, of a swept span, under its lock; any slot is as good as another */
        QUIET(i) && magazine[i] == 0 && (ALL & ~used & ~unswept) != 0 ->
        magazine[i] = ((ALL & ~used & ~unswept & BIT(1)) != 0 -> 1 : 2);
        used = used | BIT(magazine[i]);
        field[magazine[i]] = 0;
#ifndef WHITE
        if
        :: black -> mark = mark | BIT(magazine[i])
        :: else
        fi;
#endif
        if
        :: HAS(MAGAZINE, i)
        :: else -> held[i] = held[i] | BIT(magazine[i]); magazine[i] = 0
        fi
       }
    :: atomic { /* a span is swept before it is allocated from */
        QUIET(i) && unswept != 0 ->
        pick(x, unswept);
        sweep(x, y);
        x = 0
       }
    :: atomic { /* a register is overwritten, a function returns */
        QUIET(i) && held[i] != 1 ->
        pick(x, held[i] & ~1);
        held[i] = held[i] & ~BIT(x);
        x = 0
       }
    :: atomic { /* flush, if the buffer is full; announce, before the mark bit can be seen */
        HAS(SELF, i) && QUIET(i) && shaded[i] != 0 ->
        pick(x, shaded[i]);
        shaded[i] = shaded[i] & ~BIT(x);
        if
        :: (mark & BIT(x)) != 0
        :: else ->
#ifdef ANNOUNCE_AFTER_ONLY
            skip;
#else
            newly = 1;
#endif
            marking[i] = x
        fi;
        x = 0
       }
    :: d_step { /* set the bit, if it is still clear */
        marking[i] != 0 && marking[i] < MARKED ->
        if
        :: (mark & BIT(marking[i])) != 0 -> marking[i] = 0
        :: else -> mark = mark | BIT(marking[i]); marking[i] = marking[i] + MARKED
        fi
       }
    :: d_step { /* queue it, and announce again: a round may have begun since */
        marking[i] >= MARKED ->
        grey = grey | BIT(marking[i] - MARKED);
#ifndef ANNOUNCE_BEFORE_ONLY
        newly = 1;
#endif
        marking[i] = 0
       }
#ifndef FLAG_SHARED
    :: d_step { QUIET(i) && sees[i] != barrier -> sees[i] = barrier }
#endif
    od
}

/*
 * Between barrier on and the end of handshake 1 a CPU may already flush, so mark and queue; but
 * nothing may be scanned while another stores without the barrier, into what was scanned.
 */
#ifdef SCAN_BEFORE_HANDSHAKE_1
#define MAY_SCAN true
#else
#define MAY_SCAN black
#endif

proctype worker()
{
    byte o;

    do
    :: atomic { MAY_SCAN && grey != 0 -> pick(o, grey); grey = grey & ~BIT(o); busy = 1 }
       d_step { shade(BIT(field[o])); o = 0; busy = 0 }
    od
}

/* The CPU's side of a handshake: what is common to all. */
inline answer(i)
{
    marking[i] == 0;
    drain(i);
#ifndef NOT_ATOMIC
    storing[i] = 0;
#endif
    sees[i] = barrier
}

inline mark_magazine(i)
{
#ifdef WHITE
    skip
#else
    mark = (mark | BIT(magazine[i])) & ~1
#endif
}

inline flush(i)
{
    shade(shaded[i]);
    shaded[i] = 0
}

/* A thread's roots: in a handshake if it runs; if it does not, its CPU is not asked. */
inline scan(i)
{
    if
    :: d_step {
        marking[i] == 0 ->
        answer(i);
#if defined(BLACK_WITH_ROOTS) || defined(ROOTS_BEFORE_BARRIERS)
        mark_magazine(i);
#endif
        shade(held[i])
       }
    :: d_step { QUIET(i) && !buffered[i] -> shade(held[i]) }
    fi
}

inline roots()
{
    d_step { grey = grey | BIT(GLOBALS) }
    scan(0);
    scan(1)
}

proctype collector()
{
    byte o, live, rounds;

    do
    ::
        /* (0) */
        do
        :: atomic { unswept != 0 -> pick(o, unswept); sweep(o, live); o = 0 }
        :: unswept == 0 -> break
        od;
        atomic {
            ALSO(mark == 0 && grey == 0 && shaded[0] == 0 && shaded[1] == 0);
#ifdef COMPLETE
            reachable(live);
            dead = used & ~live;
            live = 0;
#endif
            /* (1) */
            barrier = 1
        }
#ifdef ROOTS_BEFORE_BARRIERS
        black = 1;
        roots();
#endif
#ifndef NO_HANDSHAKE_1
        d_step { marking[0] == 0 -> answer(0) }
        d_step { marking[1] == 0 -> answer(1) }
#endif
        /* (2) */
        black = 1;
#ifndef BLACK_WITH_ROOTS
        d_step { marking[0] == 0 -> answer(0); mark_magazine(0) }
        d_step { marking[1] == 0 -> answer(1); mark_magazine(1) }
#endif
        /* (3) */
#ifndef ROOTS_BEFORE_BARRIERS
        roots();
#endif
        /* (4), (5) */
        do
        ::
            d_step {
                newly = 0;
                rounds = (rounds > ROUNDS -> rounds : rounds + 1);
                ALSO(rounds <= ROUNDS)
            }
#ifndef ROUND_WITH_WORK_LEFT
            grey == 0;
            !busy;
#endif
            d_step { marking[0] == 0 -> answer(0); flush(0) }
            d_step { marking[1] == 0 -> answer(1); flush(1) }
#ifdef ONE_ROUND
            grey == 0;
            !busy;
            break
#else
            if
            :: grey != 0
            :: grey == 0 ->
                if
                :: busy
                :: !busy ->
                    if
                    :: newly
                    :: !newly -> break
                    fi
                fi
            fi
#endif
        od;
        atomic {
            rounds = 0;
            newly = 0;
            /* (6) */
            barrier = 0
        }
#ifdef BLACK_OFF_FIRST
        black = 0;
#endif
        d_step { marking[0] == 0 -> answer(0); shaded[0] = 0 }
        d_step { marking[1] == 0 -> answer(1); shaded[1] = 0 }
#if defined(BLACK_OFF_FIRST) || defined(BLACK_OFF_LAST)
        unswept = ALL;
        black = 0
#else
        d_step { black = 0; unswept = ALL }
#endif
    od
}

init { atomic { run mutator(0); run mutator(1); run worker(); run collector() } }
