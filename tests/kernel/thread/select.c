/* channel_select: one of several, whichever comes, and only one. */
#include "kernel/thread/channel.h"
#include "kernel/base/string.h"
#include "tests/kernel/thread/team.h"

#define SELECT_TURNS    400u
#define SELECT_CHANNELS 4u
#define SELECTS         "waits for one of several channels"

struct select_part {
    struct test *t;
    struct channel *channels[SELECT_CHANNELS];
    unsigned number; /* which of the channels it is for */
    int done;        /* what channel_select returned */
    uintptr_t word;
    bool is_open;
    size_t sent, received; /* sums of words */
};

static bool select_create(struct test *t, struct select_part *part, size_t capacity)
{
    *part = (struct select_part){.t = t};
    for (unsigned i = 0; i < SELECT_CHANNELS; i++) {
        part->channels[i] = channel_create(capacity);
        if (!EXPECT(t, part->channels[i] != NULL))
            return false;
    }
    return true;
}

static void select_destroy(struct select_part *part)
{
    for (unsigned i = 0; i < SELECT_CHANNELS; i++)
        channel_destroy(part->channels[i]);
}

static struct channel_case select_receive(struct channel *channel)
{
    return (struct channel_case){.channel = channel, .operation = CHANNEL_RECEIVE};
}

static struct channel_case select_send(struct channel *channel, uintptr_t word)
{
    return (struct channel_case){.channel = channel, .operation = CHANNEL_SEND, .word = word};
}

TEST(select, takes_what_is_ready)
{
    struct select_part part;
    struct channel_case cases[3];
    uintptr_t word;

    REQUIRE(t, select_create(t, &part, 1));
    cases[0] = select_receive(part.channels[0]);
    cases[1] = select_receive(NULL);
    cases[2] = select_receive(part.channels[1]);
    EXPECT(t, channel_select(cases, 3, CHANNEL_NO_WAIT) == -1);
    EXPECT(t, channel_select(cases + 1, 1, CHANNEL_NO_WAIT) == -1);
    EXPECT(t, channel_select(cases, 0, CHANNEL_NO_WAIT) == -1);
    for (unsigned i = 0; i < 2; i++) {
        EXPECT(t, channel_send(part.channels[i], 10 + i));
        EXPECT(t, channel_select(cases, 3, i == 0 ? CHANNEL_NO_WAIT : 0) == (int)(2 * i));
        EXPECT(t, cases[2 * i].is_open && cases[2 * i].word == 10 + i);
        EXPECT(t, channel_select(cases, 3, CHANNEL_NO_WAIT) == -1);
    }

    cases[1] = select_send(part.channels[2], 12);
    EXPECT(t, channel_select(cases, 3, 0) == 1 && cases[1].is_open);
    EXPECT(t, channel_select(cases, 3, CHANNEL_NO_WAIT) == -1);
    EXPECT(t, channel_receive(part.channels[2], &word) && word == 12);

    cases[1].channel = NULL;
    channel_close(part.channels[1]);
    EXPECT(t, channel_select(cases, 3, 0) == 2 && !cases[2].is_open && cases[2].word == 0);
    cases[2] = select_send(part.channels[1], 13);
    EXPECT(t, channel_select(cases, 3, 0) == 2 && !cases[2].is_open);
    select_destroy(&part);
}

/* All ready, each has its turn. */
TEST(select, is_fair)
{
    struct select_part part;
    struct channel_case cases[SELECT_CHANNELS];
    unsigned times[SELECT_CHANNELS] = {0};

    REQUIRE(t, select_create(t, &part, 1));
    for (unsigned i = 0; i < SELECT_CHANNELS; i++) {
        cases[i] = select_receive(part.channels[i]);
        EXPECT(t, channel_send(part.channels[i], i));
    }
    for (unsigned turn = 0; turn < SELECT_TURNS; turn++) {
        int done = channel_select(cases, SELECT_CHANNELS, 0);

        REQUIRE(t, done >= 0 && done < (int)SELECT_CHANNELS);
        times[done]++;
        EXPECT(t, channel_send(part.channels[done], 0));
    }
    for (unsigned i = 0; i < SELECT_CHANNELS; i++)
        EXPECT(t, times[i] > SELECT_TURNS / SELECT_CHANNELS / 2);
    select_destroy(&part);
}

/* ---- Waiting ---- */

/* Receive from the first two, or send on the third. */
static void select_wait_for_one(void *arg)
{
    struct select_part *part = arg;
    struct channel_case cases[4] = {select_receive(part->channels[0]),
                                    select_receive(part->channels[1]), select_receive(NULL),
                                    select_send(part->channels[2], 33)};

    part->done = channel_select(cases, 4, 0);
    if (part->done >= 0) {
        part->word = cases[part->done].word;
        part->is_open = cases[part->done].is_open;
    }
    memset(cases, 0xa5, sizeof(cases)); /* nobody has any business here */
}

static bool select_start(struct team *team, struct select_part *part)
{
    if (!team_add(part->t, team, select_wait_for_one, part))
        return false;
    team_await(team->threads[team->count - 1], SELECTS);
    return true;
}

/* Done once: to whoever comes to another of its channels after that, nobody waits there. */
TEST(select, does_only_one)
{
    for (unsigned i = 0; i < 3; i++) {
        struct select_part part;
        struct team team = {0};
        uintptr_t word = 0;

        REQUIRE(t, select_create(t, &part, 0));
        REQUIRE(t, select_start(&team, &part));
        if (i < 2)
            EXPECT(t, channel_try_send(part.channels[i], 40 + i) == CHANNEL_DONE);
        else
            EXPECT(t, channel_try_receive(part.channels[2], &word) == CHANNEL_DONE && word == 33);
        EXPECT(t, channel_try_send(part.channels[0], 50) == CHANNEL_NOT_READY);
        EXPECT(t, channel_try_send(part.channels[1], 51) == CHANNEL_NOT_READY);
        EXPECT(t, channel_try_receive(part.channels[2], &word) == CHANNEL_NOT_READY);
        team_join(&team);
        EXPECT(t, part.done == (i < 2 ? (int)i : 3) && part.is_open);
        EXPECT(t, part.word == (i < 2 ? 40 + i : 33));
        select_destroy(&part);
    }
}

/* In the middle of the lists of those who wait, and out of it again. */
TEST(select, leaves_the_others_lists)
{
    struct select_part parts[3];
    struct team team = {0};

    REQUIRE(t, select_create(t, &parts[0], 0));
    for (unsigned i = 0; i < 3; i++) {
        parts[i] = parts[0];
        REQUIRE(t, select_start(&team, &parts[i]));
    }
    EXPECT(t, channel_try_send(parts[0].channels[0], 1) == CHANNEL_DONE); /* to the first */
    thread_join(team.threads[0]);
    EXPECT(t, parts[0].done == 0 && parts[0].word == 1);
    EXPECT(t, channel_try_send(parts[0].channels[1], 2) == CHANNEL_DONE);
    EXPECT(t, channel_try_send(parts[0].channels[0], 3) == CHANNEL_DONE);
    EXPECT(t, channel_try_send(parts[0].channels[1], 4) == CHANNEL_NOT_READY);
    thread_join(team.threads[1]);
    thread_join(team.threads[2]);
    EXPECT(t, parts[1].done == 1 && parts[1].word == 2 && parts[2].done == 0 && parts[2].word == 3);
    select_destroy(&parts[0]); /* panics if anybody stood in a list still */
}

TEST(select, is_woken_by_close)
{
    for (unsigned i = 0; i < 3; i++) {
        struct select_part part;
        struct team team = {0};

        REQUIRE(t, select_create(t, &part, 0));
        REQUIRE(t, select_start(&team, &part));
        channel_close(part.channels[i]);
        team_join(&team);
        EXPECT(t, part.done == (i < 2 ? (int)i : 3) && !part.is_open);
        EXPECT(t, i == 2 || part.word == 0);
        select_destroy(&part);
    }
}

/* Both directions of one channel: another may do either, but it cannot meet itself. */
static void select_both_ways(void *arg)
{
    struct select_part *part = arg;
    struct channel_case cases[2] = {select_receive(part->channels[0]),
                                    select_send(part->channels[0], 5)};

    part->done = channel_select(cases, 2, 0);
    part->word = cases[0].word;
}

TEST(select, both_ways_on_one_channel)
{
    struct select_part part;
    struct team team = {0};
    uintptr_t word;

    REQUIRE(t, select_create(t, &part, 0));
    REQUIRE(t, team_add(t, &team, select_both_ways, &part));
    team_await(team.threads[0], SELECTS);
    EXPECT(t, channel_receive(part.channels[0], &word) && word == 5);
    team_join(&team);
    EXPECT(t, part.done == 1);
    REQUIRE(t, team_add(t, &team, select_both_ways, &part));
    team_await(team.threads[0], SELECTS);
    EXPECT(t, channel_send(part.channels[0], 6));
    team_join(&team);
    EXPECT(t, part.done == 0 && part.word == 6);
    select_destroy(&part);
}

TEST(select, over_many)
{
    static struct channel_case cases[CHANNEL_SELECT_MAX];
    static struct channel *channels[CHANNEL_SELECT_MAX];

    for (unsigned i = 0; i < CHANNEL_SELECT_MAX; i++) {
        channels[i] = channel_create(1);
        REQUIRE(t, channels[i] != NULL);
        cases[i] = select_receive(channels[i]);
    }
    EXPECT(t, channel_select(cases, CHANNEL_SELECT_MAX, CHANNEL_NO_WAIT) == -1);
    for (unsigned i = 0; i < CHANNEL_SELECT_MAX; i++) {
        EXPECT(t, channel_send(channels[i], i));
        EXPECT(t, channel_select(cases, CHANNEL_SELECT_MAX, 0) == (int)i && cases[i].word == i);
    }
    for (unsigned i = 0; i < CHANNEL_SELECT_MAX; i++)
        channel_destroy(channels[i]);
}

/* ---- Many at once ---- */

static void select_feed(void *arg)
{
    const struct select_part *part = arg;

    for (uintptr_t i = 1; i <= SELECT_TURNS; i++)
        EXPECT(part->t, channel_send(part->channels[part->number], i));
    channel_close(part->channels[part->number]);
}

/* Until the last of them is closed; each in its order. */
TEST(select, fan_in_until_closed)
{
    for (size_t capacity = 0; capacity < 3; capacity++) {
        struct select_part parts[SELECT_CHANNELS];
        struct channel_case cases[SELECT_CHANNELS];
        uintptr_t last[SELECT_CHANNELS] = {0};
        struct team team = {0};

        REQUIRE(t, select_create(t, &parts[0], capacity));
        for (unsigned i = 0; i < SELECT_CHANNELS; i++) {
            parts[i] = parts[0];
            parts[i].number = i;
            cases[i] = select_receive(parts[0].channels[i]);
            REQUIRE(t, team_add(t, &team, select_feed, &parts[i]));
        }
        for (unsigned open = SELECT_CHANNELS; open > 0;) {
            int done = channel_select(cases, SELECT_CHANNELS, 0);

            REQUIRE(t, done >= 0);
            if (cases[done].is_open) {
                EXPECT(t, cases[done].word == ++last[done]);
            } else {
                cases[done].channel = NULL;
                open--;
            }
        }
        team_join(&team);
        for (unsigned i = 0; i < SELECT_CHANNELS; i++)
            EXPECT(t, last[i] == SELECT_TURNS);
        select_destroy(&parts[0]);
    }
}

/*
 * Each wants to send on one channel or receive from another, which are the other's: whichever of
 * the two happens, it happens to both.
 */
static void select_meet(void *arg)
{
    struct select_part *part = arg;
    unsigned me = part->number;

    for (uintptr_t i = 1; i <= SELECT_TURNS; i++) {
        struct channel_case cases[2] = {select_send(part->channels[me], i),
                                        select_receive(part->channels[1 - me])};

        if (channel_select(cases, 2, 0) == 0)
            part->sent += i;
        else
            part->received += cases[1].word;
        if (i % 8 == 0)
            thread_yield();
    }
}

TEST(select, meets_another)
{
    struct select_part parts[2];
    struct team team = {0};

    REQUIRE(t, select_create(t, &parts[0], 0));
    parts[1] = parts[0];
    parts[1].number = 1;
    for (unsigned i = 0; i < 2; i++)
        REQUIRE(t, team_add(t, &team, select_meet, &parts[i]));
    team_join(&team);
    EXPECT(t, parts[0].sent == parts[1].received && parts[1].sent == parts[0].received);
    EXPECT(t, parts[0].sent + parts[1].sent == SELECT_TURNS * (SELECT_TURNS + 1) / 2);
    select_destroy(&parts[0]);
}

/* ---- Misuse ---- */

static void select_nothing(void *unused)
{
    struct channel_case wanted = select_receive(NULL);

    (void)unused;
    (void)channel_select(&wanted, 1, 0);
}

static void select_too_many(void *unused)
{
    static struct channel_case cases[CHANNEL_SELECT_MAX + 1];

    (void)unused;
    (void)channel_select(cases, ARRAY_COUNT(cases), CHANNEL_NO_WAIT);
}

TEST(select, misuse_is_a_panic)
{
    EXPECT_PANIC(t, select_nothing, NULL, "would wait for ever: there is no channel");
    EXPECT_PANIC(t, select_too_many, NULL, "n <= CHANNEL_SELECT_MAX");
}
