/*
 * The balloon (kernel/balloon.h): the queue of a virtio memory balloon on which free pages are
 * reported.  It is never inflated: pages stay this machine's, and nothing is asked to use one again.
 *
 * A page that is reported is a buffer that the device may write to, since taking its memory away
 * changes its contents.  Without the poison feature, which is not negotiated (it would have us
 * write to each page first), the standard leaves them undefined.
 *
 * Queues count from 0: inflate, deflate, then statistics, hints and reports, each where the device
 * has it.  The standard numbers them all; QEMU and its like number those that they offer.  With
 * QEMU's default, statistics without hints, reports are queue 3.
 *
 * A device that does not answer within a second is reset, so that it can no longer touch memory,
 * and never asked again.
 *
 * Locks: none.  Source: VIRTIO 1.1, section 5.5; 5.5.6.7 (free page reporting, as of 1.2).
 */
#include "kernel/balloon.h"
#include <stdatomic.h>
#include "arch/arch.h"
#include "kernel/panic.h"
#include "kernel/print.h"
#include "kernel/virtio.h"

#define VIRTIO_VENDOR         0x1af4
#define BALLOON_DEVICE        0x1045
#define BALLOON_DEVICE_LEGACY 0x1002 /* of a device that knows versions 0.9 and 1 */

#define BALLOON_STATISTICS (1ull << 1)
#define BALLOON_HINTS      (1ull << 3)
#define BALLOON_REPORTING  (1ull << 5)

static struct virtio balloon;             /* [C] once on, but for the reset at a failure */
static struct virtio_queue balloon_queue; /* by one flow at a time */

static enum balloon_kind {
    BALLOON_NONE,
    BALLOON_ARCH,       /* arch_ram_release */
    BALLOON_QUEUE,      /* balloon_queue */
} _Atomic balloon_kind; /* [A] relaxed: falls to NONE at a failure */

/* What is wrong with the device; NULL: it is ready. */
static const char *balloon_open(pci_function function, void *(*take_pages)(size_t n))
{
    uint64_t offered;

    if (!virtio_open(&balloon, function, BALLOON_REPORTING, &offered))
        return "refuses version 1 of virtio";
    if (!(balloon.features & BALLOON_REPORTING)) {
        virtio_close(&balloon);
        return "has no free page reporting";
    }

    void *rings = take_pages(VIRTIO_QUEUE_PAGES);
    unsigned index = 2 + !!(offered & BALLOON_STATISTICS) + !!(offered & BALLOON_HINTS);

    if (rings == NULL) {
        virtio_close(&balloon);
        return "gets no memory for its queue";
    }
    if (!virtio_queue_open(&balloon_queue, &balloon, index, rings)) {
        virtio_close(&balloon);
        return "lacks the queue for it";
    }
    virtio_start(&balloon);
    return NULL;
}

bool balloon_start(void *(*take_pages)(size_t n))
{
    if (arch_ram_release(NULL, 0)) {
        atomic_store_explicit(&balloon_kind, BALLOON_ARCH, memory_order_relaxed);
        return true;
    }

    pci_function function = pci_find(VIRTIO_VENDOR, BALLOON_DEVICE, BALLOON_DEVICE_LEGACY);

    if (function == PCI_NONE) {
        printk("balloon: none; free memory is not given back to the host\n");
        return false;
    }

    const char *wrong = balloon_open(function, take_pages);

    if (wrong != NULL) {
        printk("balloon: the device %s; free memory is not given back to the host\n", wrong);
        return false;
    }
    printk("balloon: free memory is given back to the host\n");
    atomic_store_explicit(&balloon_kind, BALLOON_QUEUE, memory_order_relaxed);
    return true;
}

bool balloon_is_on(void)
{
    return atomic_load_explicit(&balloon_kind, memory_order_relaxed) != BALLOON_NONE;
}

enum balloon_answer balloon_report(void *addr, size_t bytes)
{
    switch (atomic_load_explicit(&balloon_kind, memory_order_relaxed)) {
    case BALLOON_ARCH:
        return arch_ram_release(addr, bytes) ? BALLOON_TAKEN_AS_ZERO : BALLOON_FAILED;
    case BALLOON_QUEUE:
        if (virtio_offer(&balloon_queue, (uintptr_t)addr - arch_direct_base(), (uint32_t)bytes))
            return BALLOON_TAKEN;
        if (!virtio_close(&balloon))
            panic("balloon: the device holds %zu bytes at %p and does not reset", bytes, addr);
        atomic_store_explicit(&balloon_kind, BALLOON_NONE, memory_order_relaxed);
        printk("balloon: the device does not answer; no more is given back to the host\n");
        return BALLOON_FAILED;
    default:
        return BALLOON_FAILED;
    }
}
