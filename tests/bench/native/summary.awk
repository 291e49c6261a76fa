# awk -f summary.awk SAMPLES -- figures from samples of the native benchmark.  A sample is a line
#
#     ALLOCATOR WORKLOAD THREADS OPERATIONS NS EMPTY
#
# A figure is the median of NS per operation, then the least; less the median of EMPTY per operation
# over all allocators, whose loops are the same.  That one is the line of allocator=none.

# Sort v[1 .. n]; insertion, as samples are few.
function sort(v, n,    i, j, x)
{
    for (i = 2; i <= n; i++) {
        x = v[i]
        for (j = i - 1; j >= 1 && v[j] > x; j--)
            v[j + 1] = v[j]
        v[j + 1] = x
    }
}

# The median of the samples under a key; sets least.
function median(values, key,    parts, v, n, i)
{
    n = split(values[key], parts, " ")
    for (i = 1; i <= n; i++)
        v[i] = parts[i] + 0
    sort(v, n)
    least = v[1]
    return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}

function positive(x)
{
    return x > 0 ? x : 0
}

function go(x)
{
    return sprintf(x >= 99.995 ? "%11.1f" : x >= 9.9995 ? "%12.2f" : "%13.3f", x)
}

function line(name, operations, figure, smallest)
{
    printf "Benchmark%-46s\t%9d\t%s ns/op\t%s min-ns/op\n", name, operations, go(figure),
           go(smallest)
}

{
    allocator = $1
    what = $2 " " $3
    if (!($2 in known_workload)) {
        known_workload[$2] = 1
        workloads[++workload_count] = $2
    }
    if (!(allocator in known_allocator)) {
        known_allocator[allocator] = 1
        allocators[++allocator_count] = allocator
    }
    if ($3 > threads_most)
        threads_most = $3
    operations[allocator, what] += $4
    all_operations[what] += $4
    ns[allocator, what] = ns[allocator, what] " " $5 / $4
    empty[what] = empty[what] " " $6 / $4
}

# All lines of a workload and number of threads; keeps the ratio.
function report(workload, threads,    what, name, own, own_least, i, a, figure, mine, fastest, of)
{
    what = workload " " threads
    own = median(empty, what)
    own_least = least
    for (i = 1; i <= allocator_count; i++) {
        a = allocators[i]
        figure = positive(median(ns, a SUBSEP what) - own)
        line("Native" workload "/allocator=" a "-" threads, operations[a, what], figure,
             positive(least - own))
        if (a == "spandrel") {
            mine = figure
        } else if (of == "" || figure < fastest) {
            fastest = figure
            of = a
        }
    }
    line("Native" workload "/allocator=none-" threads, all_operations[what], own, own_least)
    ratio[what] = of == "" || fastest == 0 ? "-" : sprintf("%.2f %s", mine / fastest, of)
}

END {
    for (i = 1; i <= workload_count; i++)
        for (threads = 1; threads <= threads_most; threads++)
            report(workloads[i], threads)
    if (threads_most < 2)
        print "--- SKIP: BenchmarkNative*-2: two threads need two cores, there is one"

    print "The loop alone, allocator=none, is subtracted from the other lines."
    if (allocator_count < 2) {
        print "No other allocator is here to compare Spandrel with."
        exit
    }
    printf "\nSpandrel's time over that of the fastest of the others, medians\n%-20s", ""
    for (threads = 1; threads <= threads_most; threads++)
        printf "%-18s", threads == 1 ? "1 thread" : threads " threads"
    print ""
    for (i = 1; i <= workload_count; i++) {
        printf "%-20s", workloads[i]
        for (threads = 1; threads <= threads_most; threads++)
            printf "%-18s", ratio[workloads[i] " " threads]
        print ""
    }
}
