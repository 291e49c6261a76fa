/* Channels: every word arrives, once, in its sender's order; nobody waits for what is there. */
#include "kernel/thread/channel.h"
#include "kernel/fault.h"
#include "tests/kernel/thread/team.h"

#define CHANNEL_TURNS   400u
#define CHANNEL_THREADS 8u
#define SENDS           "waits for room in a channel"
#define RECEIVES        "waits for a word from a channel"

/* A thread's part: in a team of `channels`, one of which may be for answers. */
struct part {
    struct test *t;
    struct channel *from, *to;
    uintptr_t word;  /* sent, or received */
    unsigned number; /* which it is */
    bool is_open;    /* what the last operation said */
};

static const size_t capacities[] = {0, 1, 7, 100};

TEST(channel, holds_what_fits)
{
    struct channel *channel = channel_create(3);
    uintptr_t word = 7;

    REQUIRE(t, channel != NULL);
    EXPECT(t, channel_try_receive(channel, &word) == CHANNEL_NOT_READY);
    for (uintptr_t round = 0; round < 5; round++) { /* it begins elsewhere each time */
        for (uintptr_t i = 0; i < 3; i++)
            EXPECT(t, channel_try_send(channel, 10 * round + i) == CHANNEL_DONE);
        EXPECT(t, channel_try_send(channel, 99) == CHANNEL_NOT_READY);
        EXPECT(t, channel_count(channel) == 3);
        EXPECT(t, channel_receive(channel, &word) && word == 10 * round);
        EXPECT(t, channel_send(channel, 10 * round + 3));
        for (uintptr_t i = 1; i < 4; i++)
            EXPECT(t,
                   channel_try_receive(channel, &word) == CHANNEL_DONE && word == 10 * round + i);
        EXPECT(t, channel_try_send(channel, 50) == CHANNEL_DONE);
        EXPECT(t, channel_try_receive(channel, &word) == CHANNEL_DONE && word == 50);
    }
    EXPECT(t, channel_count(channel) == 0);
    channel_destroy(channel);
}

static void channel_receive_one(void *arg)
{
    struct part *part = arg;

    part->is_open = channel_receive(part->from, &part->word);
}

static void channel_send_one(void *arg)
{
    struct part *part = arg;

    part->is_open = channel_send(part->to, part->word);
}

TEST(channel, without_room_takes_two)
{
    struct channel *channel = channel_create(0);
    struct part part = {.from = channel, .to = channel};
    struct team team = {0};
    uintptr_t word = 0;

    REQUIRE(t, channel != NULL);
    EXPECT(t, channel_try_send(channel, 1) == CHANNEL_NOT_READY);
    EXPECT(t, channel_try_receive(channel, &word) == CHANNEL_NOT_READY);

    REQUIRE(t, team_add(t, &team, channel_receive_one, &part));
    team_await(team.threads[0], RECEIVES);
    EXPECT(t, channel_try_receive(channel, &word) == CHANNEL_NOT_READY);
    EXPECT(t, channel_try_send(channel, 5) == CHANNEL_DONE);
    EXPECT(t, channel_try_send(channel, 6) == CHANNEL_NOT_READY);
    team_join(&team);
    EXPECT(t, part.is_open && part.word == 5);

    part.word = 8;
    REQUIRE(t, team_add(t, &team, channel_send_one, &part));
    team_await(team.threads[0], SENDS);
    EXPECT(t, channel_try_send(channel, 6) == CHANNEL_NOT_READY);
    EXPECT(t, channel_try_receive(channel, &word) == CHANNEL_DONE && word == 8);
    EXPECT(t, channel_try_receive(channel, &word) == CHANNEL_NOT_READY);
    team_join(&team);
    EXPECT(t, part.is_open);
    channel_destroy(channel);
}

/* Each answers with one more than it got. */
static void channel_answer(void *arg)
{
    const struct part *part = arg;
    uintptr_t word;

    while (channel_receive(part->from, &word))
        EXPECT(part->t, channel_send(part->to, word + 1));
}

TEST(channel, ping_pong)
{
    for (size_t i = 0; i < ARRAY_COUNT(capacities); i++) {
        struct channel *to = channel_create(capacities[i]), *from = channel_create(capacities[i]);
        struct part part = {.t = t, .from = to, .to = from};
        struct team team = {0};
        uintptr_t word = 0;

        REQUIRE(t, to != NULL && from != NULL);
        REQUIRE(t, team_add(t, &team, channel_answer, &part));
        for (unsigned turn = 0; turn < CHANNEL_TURNS; turn++)
            EXPECT(t, channel_send(to, word) && channel_receive(from, &word));
        EXPECT(t, word == CHANNEL_TURNS);
        channel_close(to);
        team_join(&team);
        channel_destroy(to);
        channel_destroy(from);
    }
}

static void channel_send_many(void *arg)
{
    const struct part *part = arg;

    for (uintptr_t i = 0; i < CHANNEL_TURNS; i++) {
        EXPECT(part->t, channel_send(part->to, (uintptr_t)part->number << 32 | i));
        if (i % 16 == part->number)
            thread_yield();
    }
}

TEST(channel, fan_in)
{
    for (size_t c = 0; c < ARRAY_COUNT(capacities); c++) {
        struct channel *channel = channel_create(capacities[c]);
        struct part parts[CHANNEL_THREADS];
        uintptr_t next[CHANNEL_THREADS] = {0}, word;
        struct team team = {0};

        REQUIRE(t, channel != NULL);
        for (unsigned i = 0; i < CHANNEL_THREADS; i++) {
            parts[i] = (struct part){.t = t, .to = channel, .number = i};
            REQUIRE(t, team_add(t, &team, channel_send_many, &parts[i]));
        }
        for (unsigned i = 0; i < CHANNEL_THREADS * CHANNEL_TURNS; i++) {
            REQUIRE(t, channel_receive(channel, &word));
            REQUIRE(t, word >> 32 < CHANNEL_THREADS);
            EXPECT(t, (uint32_t)word == next[word >> 32]++); /* each sender's in its order */
        }
        team_join(&team);
        EXPECT(t, channel_try_receive(channel, &word) == CHANNEL_NOT_READY);
        channel_destroy(channel);
    }
}

static _Atomic uint8_t channel_seen[CHANNEL_THREADS * CHANNEL_TURNS]; /* [A] relaxed */

static void channel_receive_many(void *arg)
{
    struct part *part = arg;
    uintptr_t word, last = 0;

    while (channel_receive(part->from, &word)) {
        EXPECT(part->t, word > last && word <= ARRAY_COUNT(channel_seen));
        last = word;
        atomic_fetch_add_explicit(&channel_seen[word - 1], 1, memory_order_relaxed);
        part->word++;
        if (word % 16 == part->number)
            thread_yield();
    }
    EXPECT(part->t, word == 0);
}

TEST(channel, fan_out)
{
    for (size_t c = 0; c < ARRAY_COUNT(capacities); c++) {
        struct channel *channel = channel_create(capacities[c]);
        struct part parts[CHANNEL_THREADS];
        struct team team = {0};
        uintptr_t received = 0;

        REQUIRE(t, channel != NULL);
        for (size_t i = 0; i < ARRAY_COUNT(channel_seen); i++)
            atomic_store_explicit(&channel_seen[i], 0, memory_order_relaxed);
        for (unsigned i = 0; i < CHANNEL_THREADS; i++) {
            parts[i] = (struct part){.t = t, .from = channel, .number = i};
            REQUIRE(t, team_add(t, &team, channel_receive_many, &parts[i]));
        }
        for (uintptr_t word = 1; word <= ARRAY_COUNT(channel_seen); word++)
            EXPECT(t, channel_send(channel, word));
        channel_close(channel);
        team_join(&team);
        for (unsigned i = 0; i < CHANNEL_THREADS; i++)
            received += parts[i].word;
        EXPECT(t, received == ARRAY_COUNT(channel_seen));
        for (size_t i = 0; i < ARRAY_COUNT(channel_seen); i++)
            EXPECT(t, atomic_load_explicit(&channel_seen[i], memory_order_relaxed) == 1);
        channel_destroy(channel);
    }
}

/* ---- Order of who waits ---- */

static bool channel_start(struct test *t, struct team *team, struct part *parts, unsigned n,
                          void (*fn)(void *arg), struct channel *channel, const char *text)
{
    for (unsigned i = 0; i < n; i++) {
        parts[i] =
            (struct part){.t = t, .from = channel, .to = channel, .number = i, .word = 100 + i};
        if (!team_add(t, team, fn, &parts[i]))
            return false;
        team_await(team->threads[i], text);
    }
    return true;
}

TEST(channel, serves_the_longest_waiter)
{
    struct channel *channel = channel_create(0), *full = channel_create(2);
    struct part parts[CHANNEL_THREADS];
    struct team team = {0};
    uintptr_t word;

    REQUIRE(t, channel != NULL && full != NULL);
    REQUIRE(t, channel_start(t, &team, parts, 5, channel_receive_one, channel, RECEIVES));
    for (uintptr_t i = 0; i < 5; i++)
        EXPECT(t, channel_try_send(channel, i) == CHANNEL_DONE);
    team_join(&team);
    for (unsigned i = 0; i < 5; i++)
        EXPECT(t, parts[i].is_open && parts[i].word == i);

    REQUIRE(t, channel_start(t, &team, parts, 5, channel_send_one, channel, SENDS));
    for (uintptr_t i = 0; i < 5; i++)
        EXPECT(t, channel_try_receive(channel, &word) == CHANNEL_DONE && word == 100 + i);
    team_join(&team);

    /* What is in it comes first, and room that is made is the longest waiter's. */
    EXPECT(t, channel_send(full, 98) && channel_send(full, 99));
    REQUIRE(t, channel_start(t, &team, parts, 5, channel_send_one, full, SENDS));
    for (uintptr_t i = 0; i < 7; i++) {
        EXPECT(t, channel_count(full) == MIN(2u, 7 - i));
        EXPECT(t, channel_try_receive(full, &word) == CHANNEL_DONE && word == 98 + i);
    }
    team_join(&team);
    channel_destroy(channel);
    channel_destroy(full);
}

/* ---- Close ---- */

TEST(channel, closed_gives_what_it_holds)
{
    struct channel *channel = channel_create(2);
    uintptr_t word = 7;

    REQUIRE(t, channel != NULL);
    EXPECT(t, channel_send(channel, 1) && channel_send(channel, 2));
    channel_close(channel);
    EXPECT(t, !channel_send(channel, 3));
    EXPECT(t, channel_try_send(channel, 3) == CHANNEL_CLOSED);
    EXPECT(t, channel_receive(channel, &word) && word == 1);
    EXPECT(t, channel_try_receive(channel, &word) == CHANNEL_DONE && word == 2);
    EXPECT(t, !channel_receive(channel, &word) && word == 0);
    word = 7;
    EXPECT(t, channel_try_receive(channel, &word) == CHANNEL_CLOSED && word == 0);
    channel_destroy(channel);
}

/* More than are woken with the lock held. */
TEST(channel, close_wakes_all)
{
    struct channel *channel = channel_create(0), *full = channel_create(1);
    static struct part parts[TEAM_MAX];
    struct team team = {0};
    uintptr_t word;

    REQUIRE(t, channel != NULL && full != NULL);
    REQUIRE(t, channel_start(t, &team, parts, TEAM_MAX, channel_receive_one, channel, RECEIVES));
    channel_close(channel);
    team_join(&team);
    for (unsigned i = 0; i < TEAM_MAX; i++)
        EXPECT(t, !parts[i].is_open && parts[i].word == 0);

    EXPECT(t, channel_send(full, 1));
    REQUIRE(t, channel_start(t, &team, parts, TEAM_MAX, channel_send_one, full, SENDS));
    channel_close(full);
    team_join(&team);
    for (unsigned i = 0; i < TEAM_MAX; i++)
        EXPECT(t, !parts[i].is_open);
    EXPECT(t, channel_receive(full, &word) && word == 1);
    EXPECT(t, !channel_receive(full, &word)); /* what they had is still theirs */
    channel_destroy(channel);
    channel_destroy(full);
}

/* ---- Races ---- */

static void channel_check_answers(void *arg)
{
    const struct part *part = arg;
    uintptr_t word;

    for (uintptr_t i = 1; i <= 4 * CHANNEL_TURNS; i++) {
        word = 0;
        EXPECT(part->t, channel_receive(part->from, &word) && word == i);
    }
}

/* The receiver finds that it was served before the word is there, and has to wait for that. */
TEST(channel, bears_stray_permits)
{
    struct channel *channel = channel_create(0);
    struct part part = {.t = t, .from = channel};
    struct team team = {0};
    struct pest pest;

    REQUIRE(t, channel != NULL);
    REQUIRE(t, team_add(t, &team, channel_check_answers, &part));
    REQUIRE(t, pest_start(t, &pest, team.threads[0]));
    for (uintptr_t i = 1; i <= 4 * CHANNEL_TURNS; i++)
        EXPECT(t, channel_send(channel, i));
    pest_end(&pest);
    team_join(&team);
    channel_destroy(channel);
}

/* ---- Memory, misuse ---- */

TEST(channel, create_fails_cleanly)
{
    struct channel *channel;
    unsigned failed = 0;

    EXPECT(t, channel_create(SIZE_MAX) == NULL);
    EXPECT(t, channel_create(SIZE_MAX / sizeof(uintptr_t)) == NULL);
    EXPECT(t, channel_create((size_t)1 << 58) == NULL);
    for (unsigned nth = 1;; nth++) {
        fault_fail_nth(nth);
        channel = channel_create(1000);

        bool has_fired = fault_disarm();

        EXPECT(t, channel != NULL || has_fired); /* some of it can be done without */
        failed += channel == NULL;
        channel_destroy(channel);
        if (!has_fired)
            break;
    }
    EXPECT(t, failed != 0);
}

static void channel_close_one(void *channel)
{
    channel_close(channel);
}

static void channel_destroy_one(void *channel)
{
    channel_destroy(channel);
}

TEST(channel, misuse_is_a_panic)
{
    struct channel *channel = channel_create(0);
    struct part parts[1];
    struct team team = {0};

    REQUIRE(t, channel != NULL);
    REQUIRE(t, channel_start(t, &team, parts, 1, channel_receive_one, channel, RECEIVES));
    EXPECT_PANIC(t, channel_destroy_one, channel, "channel_destroy: a thread waits for channel ");
    channel_close(channel);
    team_join(&team);
    EXPECT_PANIC(t, channel_close_one, channel, "channel_close: channel ");
    EXPECT_PANIC(t, channel_close_one, channel, " is closed already");
    channel_destroy(channel);
}
