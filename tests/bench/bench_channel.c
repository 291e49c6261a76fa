/*
 * Channels.
 *
 * ChannelPingPong: two threads, a word there and a word back, an operation is the round trip.
 * Without room (unbuffered), each send and receive on one CPU is a switch; with room for one there
 * are as many, as a thread that waits for the answer waits.  On 2 CPUs each has a thread: it is the
 * wake-up of the other one that shows.
 *
 * ChannelPass: words from one thread to another through a channel with room for 128; a switch comes
 * when it is full or empty.
 */
#include "kernel/thread/channel.h"
#include "kernel/thread/thread.h"
#include "tests/bench/bench.h"

#define CHANNEL_ROOM 128u

struct channel_bench {
    struct bench *bench;
    struct channel *to, *from;
};

static void channel_serve(void *arg)
{
    const struct channel_bench *job = arg;
    uintptr_t word;

    while (channel_receive(job->to, &word))
        channel_send(job->from, word);
}

static void channel_ask(void *arg)
{
    const struct channel_bench *job = arg;
    uintptr_t word = 0;

    for (unsigned i = 0; i < 4; i++) { /* stacks are backed, queues are where they will be */
        channel_send(job->to, word);
        channel_receive(job->from, &word);
    }
    bench_start(job->bench);
    for (uint64_t i = job->bench->n; i > 0; i--) {
        channel_send(job->to, word);
        channel_receive(job->from, &word);
    }
    bench_stop(job->bench);
    channel_close(job->to);
}

static void channel_swallow(void *arg)
{
    const struct channel_bench *job = arg;
    uintptr_t word;

    while (channel_receive(job->to, &word))
        bench_use((const void *)word);
    channel_close(job->from);
}

static void channel_pour(void *arg)
{
    const struct channel_bench *job = arg;
    uintptr_t word = 0;

    bench_start(job->bench);
    for (uint64_t i = job->bench->n; i > 0; i--)
        channel_send(job->to, i);
    channel_close(job->to);
    (void)channel_receive(job->from, &word); /* closed: all have been received */
    bench_stop(job->bench);
}

/* Two threads, on CPUs 0 and `cpu`. */
static void channel_run(struct bench *bench, size_t room, unsigned cpu, void (*first)(void *arg),
                        void (*second)(void *arg))
{
    struct thread_options here = {.priority = THREAD_NORMAL, .cpus = 1};
    struct thread_options there = {.priority = THREAD_NORMAL, .cpus = 1ull << cpu};
    struct channel_bench job = {bench, channel_create(room), channel_create(room)};
    struct thread *threads[2] = {NULL, NULL};

    if (job.to != NULL && job.from != NULL) {
        threads[0] = thread_create("second", second, &job, &there);
        if (threads[0] != NULL)
            threads[1] = thread_create("first", first, &job, &here);
    }
    if (threads[1] == NULL) {
        bench->skip = "no memory";
        if (threads[0] != NULL)
            channel_close(job.to);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (threads[i] != NULL)
            thread_join(threads[i]);
    }
    channel_destroy(job.to);
    channel_destroy(job.from);
}

static void channel_ping_pong(struct bench *bench)
{
    channel_run(bench, bench->arg, 0, channel_ask, channel_serve);
}

static void channel_ping_pong_cpus(struct bench *bench)
{
    channel_run(bench, bench->arg, 1, channel_ask, channel_serve);
}

static void channel_pass(struct bench *bench)
{
    channel_run(bench, CHANNEL_ROOM, 0, channel_pour, channel_swallow);
}

static void channel_pass_cpus(struct bench *bench)
{
    channel_run(bench, CHANNEL_ROOM, 1, channel_pour, channel_swallow);
}

static const size_t channel_rooms[] = {0, 1};

BENCH(ChannelPingPong, .name = "ChannelPingPong/room=", BENCH_ARGS(channel_rooms),
      .loop = channel_ping_pong);
BENCH(ChannelPingPong2, .name = "ChannelPingPong/room=", BENCH_ARGS(channel_rooms),
      .loop = channel_ping_pong_cpus, .cpus = 2);
BENCH(ChannelPass, .name = "ChannelPass", .loop = channel_pass);
BENCH(ChannelPass2, .name = "ChannelPass", .loop = channel_pass_cpus, .cpus = 2);
