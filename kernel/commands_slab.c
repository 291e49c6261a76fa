/* The monitor's commands on debugging of the slab allocator (slab_debug=, mm/slab/debug.h). */
#include "kernel/command.h"
#include "kernel/print.h"
#include "mm/slab/debug.h"
#include "mm/slab/sites.h"

static int commands_allocinfo(int argc, char **argv)
{
    (void)argc, (void)argv;
    if (slab_debug_flags(NULL) & SLAB_DEBUG_SITES) {
        if (!slab_sites_print())
            printk("allocinfo: no memory to sort by\n");
    } else {
        printk("allocinfo: start with slab_debug=s\n");
    }
    return 0;
}
COMMAND(allocinfo, "", "objects and bytes by place of allocation (slab_debug=s)",
        commands_allocinfo);
