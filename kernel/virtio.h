/*
 * A virtio device on PCI, and one of its queues, polled.  (The theory stands in kernel/virtio.c.)
 */
#pragma once

#include "kernel/pci.h"

#define VIRTIO_QUEUE_PAGES 1ul /* what a queue's rings take */

/* Lock letters: [C] constant once open. */
struct virtio {
    pci_function function;  /* [C] */
    unsigned window;        /* [C] offset of the capability through which registers are reached */
    uint32_t common;        /* [C] where the common registers start in their BAR */
    uint32_t notify;        /* [C] likewise the notifications' */
    uint8_t common_bar;     /* [C] */
    uint8_t notify_bar;     /* [C] */
    uint32_t notify_stride; /* [C] bytes between the places where queues are notified */
    uint64_t features;      /* [C] negotiated */
};

/* The caller lets one flow at a time use it. */
struct virtio_queue {
    struct virtio *device;
    struct virtio_rings *rings; /* [C] */
    uint32_t notify_at;         /* [C] in the notifications' BAR */
    uint16_t index;             /* [C] */
    uint16_t sent;              /* buffers made available so far, modulo 2^16 */
};

/*
 * virtio_open -- reset the device, agree on features.
 *   wanted   features beside VERSION_1 to take where they are offered
 *   offered  gets all that the device has
 *   returns  false: it is no device of version 1, or refused; it is left reset
 */
bool virtio_open(struct virtio *device, pci_function function, uint64_t wanted, uint64_t *offered);

/*
 * virtio_queue_open -- set up queue `index` of a device that is open and not yet started.
 *   rings    VIRTIO_QUEUE_PAGES of memory in the direct map; the device's until virtio_close
 *   returns  false: there is no such queue
 */
bool virtio_queue_open(struct virtio_queue *queue, struct virtio *device, unsigned index,
                       void *rings);

void virtio_start(struct virtio *device); /* its queues are open: it may run */

/* virtio_close -- reset the device: it uses no memory any more.  false: not within a second. */
bool virtio_close(struct virtio *device);

/*
 * virtio_offer -- give the device one buffer to write to, and wait until it is done with it.
 *   physical, bytes  the buffer
 *   returns          false: it took more than a second; the buffer is the device's until it is closed
 */
bool virtio_offer(struct virtio_queue *queue, uint64_t physical, uint32_t bytes);
