/* Simulated cycles.  pacer_sim.h. */
#include "tests/mm/gc/pacer_sim.h"
#include "kernel/base/check.h"

#define NS_PER_MS   1000000ull
#define STEPS       256u /* of a mark that takes as long as its workers alone need */
#define STEPS_MAX   (64 * STEPS)
#define CHUNK_PARTS 4u /* of a step's allocations, made one after another */

void sim_init(struct sim *sim, const struct gc_pacer_settings *settings, uint64_t alive_bytes)
{
    CHECK(settings->cpus <= SIM_CPUS_MAX);
    *sim = (struct sim){.cpus = settings->cpus, .alive_bytes = alive_bytes};
    gc_pacer_init(&sim->pacer, settings);

    /* A cycle that somebody asked for: what is alive is known, and nothing of speeds. */
    struct gc_pacer_start start = {.live_bytes = alive_bytes, .scannable_bytes = alive_bytes};
    struct gc_pacer_mark mark = {
        .marked_bytes = alive_bytes, .live_bytes = alive_bytes, .is_forced = true};

    gc_pacer_start_mark(&sim->pacer, &start);
    gc_pacer_end_mark(&sim->pacer, &mark);
}

static uint64_t permille(uint64_t part, uint64_t whole)
{
    return part * 1000 / MAX(whole, 1u);
}

/* What a mutator owes: out of the workers' credit first. */
static void sim_pay(struct sim *sim, const struct sim_load *load, unsigned cpu)
{
    struct gc_debt *debt = &sim->debts[cpu];
    uint64_t ratio = sim->pacer.assist_ratio;
    uint64_t work = gc_debt_work(debt, ratio);
    uint64_t stolen = MIN(work, sim->credit_bytes);
    uint64_t own = work - stolen;

    if (load->assist_max_ns != 0)
        own = MIN(own, load->assist_max_ns * load->scan_rate / NS_PER_MS);

    uint64_t own_ns = own * NS_PER_MS / load->scan_rate;

    sim->credit_bytes -= stolen;
    sim->work_bytes += own;
    sim->assist_bytes += own;
    sim->assist_ns += own_ns;
    sim->budget_ns[cpu] -= (int64_t)own_ns;
    gc_debt_pay(debt, ratio, stolen + own);
}

static void sim_mutate(struct sim *sim, const struct sim_load *load, uint64_t ns)
{
    uint64_t chunk = MAX(load->alloc_rate * ns / NS_PER_MS / CHUNK_PARTS, 16u);
    int64_t chunk_ns = (int64_t)(chunk * NS_PER_MS / load->alloc_rate);

    for (unsigned cpu = 0; cpu < sim->cpus; cpu++) {
        sim->budget_ns[cpu] += (int64_t)ns;
        while (sim->budget_ns[cpu] > 0) {
            sim->budget_ns[cpu] -= chunk_ns;
            sim->live_bytes += chunk;
            if (gc_debt_charge(&sim->debts[cpu], chunk))
                sim_pay(sim, load, cpu);
        }
    }
}

/* ns of CPU time, of all CPUs together. */
static void sim_work(struct sim *sim, const struct sim_load *load, uint64_t ns)
{
    uint64_t work = load->scan_rate * ns / NS_PER_MS;

    sim->work_bytes += work;
    sim->credit_bytes += work;
}

static void sim_mark(struct sim *sim, const struct sim_load *load, uint64_t need)
{
    struct gc_pacer_workers *workers = &sim->pacer.workers;
    uint64_t share = (uint64_t)workers->dedicated * GC_PACER_ONE / sim->cpus + workers->fractional;
    uint64_t cpu_ns = need * NS_PER_MS / load->scan_rate;
    uint64_t step_ns = MAX(cpu_ns * GC_PACER_ONE / (share * sim->cpus) / STEPS, 1000u);
    uint64_t all_ns = step_ns * sim->cpus;
    uint64_t worker_ns = all_ns * share / GC_PACER_ONE * load->worker_permille / 1000;
    uint64_t idle_ns = all_ns * load->idle_permille / 1000;
    uint64_t mutator_ns = (all_ns - worker_ns - idle_ns) / sim->cpus;

    for (unsigned step = 0; sim->work_bytes < need; step++) {
        CHECK(step < STEPS_MAX);
        sim_work(sim, load, worker_ns + idle_ns);
        sim_mutate(sim, load, mutator_ns);
        sim->wall_ns += step_ns;
        sim->worker_ns += worker_ns;
        sim->idle_ns += idle_ns;
        gc_pacer_revise(&sim->pacer, sim->live_bytes, sim->work_bytes);
    }
}

void sim_cycle(struct sim *sim, const struct sim_load *load)
{
    struct gc_pacer *pacer = &sim->pacer;
    uint64_t goal = pacer->goal_bytes, trigger = pacer->trigger_bytes;
    uint64_t marked = pacer->marked_bytes;

    CHECK(trigger < GC_PACER_NONE / 1000);
    sim->is_swept = gc_pacer_sweep_due(pacer, trigger) == pacer->sweep_pages;
    sim->alive_bytes = MIN(sim->alive_bytes * load->growth_permille / 1000, trigger);
    sim->way_permille = (unsigned)permille(trigger - marked, goal - marked);
    sim->live_bytes = trigger;
    sim->work_bytes = sim->credit_bytes = sim->assist_bytes = 0;
    sim->wall_ns = sim->worker_ns = sim->assist_ns = sim->idle_ns = 0;
    for (unsigned cpu = 0; cpu < sim->cpus; cpu++) {
        sim->budget_ns[cpu] = 0;
        sim->debts[cpu] = (struct gc_debt){0};
    }

    uint64_t heap_work = sim->alive_bytes * load->scan_permille / 1000;
    struct gc_pacer_start start = {
        .live_bytes = trigger,
        .scannable_bytes = MAX(trigger * load->scan_permille / 1000, heap_work),
        .stack_bytes = load->stack_bytes,
        .global_bytes = load->global_bytes,
    };

    gc_pacer_start_mark(pacer, &start);
    sim_mark(sim, load, heap_work + load->stack_bytes + load->global_bytes);

    struct gc_pacer_mark mark = {
        .marked_bytes = sim->alive_bytes + sim->live_bytes - trigger,
        .live_bytes = sim->live_bytes,
        .heap_work_bytes = heap_work,
        .stack_work_bytes = load->stack_bytes,
        .global_work_bytes = load->global_bytes,
        .wall_ns = sim->wall_ns,
        .worker_ns = sim->worker_ns,
        .assist_ns = sim->assist_ns,
        .idle_ns = sim->idle_ns,
    };

    gc_pacer_end_mark(pacer, &mark);
    gc_pacer_sweep_start(pacer, pacer->marked_bytes, sim->live_bytes / PAGE_BYTES);
    sim->util_permille = pacer->last.util_permille;
    sim->peak_bytes = sim->live_bytes;
    sim->peak_permille = (unsigned)permille(sim->live_bytes, goal);
}
