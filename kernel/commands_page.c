/* The monitor's commands on single pages: `map` and `page`. */
#include "kernel/base/format.h"
#include "kernel/base/parse.h"
#include "kernel/command.h"
#include "kernel/nodes.h"
#include "kernel/print.h"
#include "mm/page/debug.h"
#include "mm/page/page.h"
#include "mm/page/view.h"
#include "mm/span/span.h"

/* ---- map ---- */

#define MAP_ROW_LETTERS 64u
#define MAP_ROWS_MAX    64u

static char map_letter(const struct page_counts *counts)
{
    size_t used = counts->present - counts->free;

    if (counts->present == 0)
        return '-';
    if (used == counts->present)
        return '#';
    if (used != 0)
        return (char)('0' + MAX(used * 10 / counts->present, 1ul)); /* less than all: at most 9 */
    if (counts->scavenged == counts->present)
        return 'S';
    return counts->zero == counts->present ? 'Z' : '.';
}

/* A row of letters for chunks from `chunk` on; false: there is no memory in it. */
static bool map_row(char *row, size_t chunk, size_t chunks_per_letter)
{
    bool is_present = false;
    size_t letters = 0;

    for (; letters < MAP_ROW_LETTERS && chunk < page_chunk_limit(); letters++) {
        struct page_counts counts = page_count_chunks(chunk, chunks_per_letter);

        row[letters] = map_letter(&counts);
        is_present |= counts.present != 0;
        chunk += chunks_per_letter;
    }
    row[letters] = '\0';
    return is_present;
}

static int commands_map(int argc, char **argv)
{
    size_t limit = page_chunk_limit(), per_letter = 1;
    bool was_present = true;
    char row[MAP_ROW_LETTERS + 1];

    (void)argc, (void)argv;
    while (limit > MAP_ROWS_MAX * MAP_ROW_LETTERS * per_letter)
        per_letter *= 2;
    printk("  a letter is %zu MiB: . free  Z free, zero  S free, scavenged  1-9 tenths in use  # "
           "full  "
           "- no memory\n",
           per_letter * CHUNK_BYTES / MIB);
    for (size_t chunk = 0; chunk < limit; chunk += MAP_ROW_LETTERS * per_letter) {
        bool is_present = map_row(row, chunk, per_letter);

        if (is_present)
            printk("  %012lx  %s\n", chunk * CHUNK_BYTES, row);
        else if (was_present)
            printk("  ...\n");
        was_present = is_present;
    }
    return 0;
}
COMMAND(map, "", "memory in letters, by chunk", commands_map);

/* ---- page ADDRESS ---- */

static void page_print_taken(const struct page_view *view, uint64_t physical)
{
    const void *addr = (const void *)(uintptr_t)(arch_direct_base() + physical);
    const struct span *span = span_of(addr);

    printk("  taken: page %zu of a run of %zu at 0x%lx\n", physical / PAGE_BYTES - view->first,
           view->pages, view->first * PAGE_BYTES);
    if (span == NULL)
        return;
    printk("  in the span at 0x%lx, %zu KiB, span class %u\n", span->base, span_bytes(span) / KIB,
           span->span_class);
    if (span_slot_count(span) == 0)
        printk("  which is one large object\n");
    else
        printk("  which is %u slots of %zu bytes, %u not taken\n", span_slot_count(span),
               span_slot_bytes(span), span->free_count);
}

static void page_print_free(const struct page_view *view)
{
    char where[32] = "in the heap";

    if (view->state == PAGE_IN_WINDOW)
        format_string(where, sizeof(where), "in the window of CPU %u", view->cpu);
    printk("  free, %s%s%s\n", where, view->is_zero ? ", zero" : "",
           view->is_scavenged ? ", scavenged" : "");
}

static int commands_page(int argc, char **argv)
{
    uint64_t addr, node_end;

    if (argc != 2 || !parse_u64(argv[1], &addr)) {
        printk("page: accepted: an address, as in 0xffff800001000000 or, physical, 0x1000000\n");
        return 1;
    }
    if (addr >= arch_direct_base())
        addr -= arch_direct_base();

    struct page_view view = page_view(addr / PAGE_BYTES);

    if (view.state == PAGE_ABSENT) {
        printk("page 0x%lx: not memory of the page heap's\n", ALIGN_DOWN(addr, PAGE_BYTES));
        return 0;
    }
    printk("page 0x%lx, node %u\n", ALIGN_DOWN(addr, PAGE_BYTES), node_of(addr, &node_end));
    if (view.state == PAGE_TAKEN)
        page_print_taken(&view, addr);
    else
        page_print_free(&view);
    page_owner_print(addr / PAGE_BYTES);
    return 0;
}
COMMAND(page, "ADDRESS", "what a page is, and whose", commands_page);
