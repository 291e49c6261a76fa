/*
 * Virtio 1.0 on PCI (kernel/virtio.h): just what a device with rare, synchronous requests needs.
 *
 * Registers.  A virtio device has its registers in the memory of its BARs, and says where by
 * vendor capabilities.  One of these, which every device has, is a window in configuration space
 * on that memory: write where and how wide, then read or write the data register.  All access here
 * goes through it.  So the device works where firmware gave its BARs no address (as qboot does not),
 * no address space is spent, and a port owes configuration access and nothing else.  A notification
 * costs two to four exits in place of one, once per 64 KiB or more that go to the host.
 *
 * Queue.  A split virtqueue of which one descriptor is used: the caller waits for each buffer.
 *
 *     descriptors[0] = {buffer}    available: [0 0 0 ...] index ->    <- used index
 *
 * A buffer is done when the device's used index has reached the number of buffers sent.  Stores
 * before the available index is raised are visible to the device that sees it raised (release); what
 * is read after the used index comes from after it (acquire).
 *
 * Locks: none; one flow at a time uses a device.
 *
 * Source: Virtual I/O Device (VIRTIO) 1.1, sections 2.6 (split virtqueues), 3.1 (initialisation),
 * 4.1 (PCI; 4.1.4.8: the window).
 */
#include "kernel/virtio.h"
#include <stdatomic.h>
#include "arch/arch.h"
#include "kernel/base/string.h"

#define VIRTIO_CAPABILITY 0x09u /* vendor-specific */
#define VIRTIO_VERSION_1  (1ull << 32)
#define VIRTIO_NO_VECTOR  0xffffu

/* A vendor capability: {id, next, bytes, kind} {bar, ...} {offset} {length} {data or stride} */
#define CAP_BAR    4u
#define CAP_OFFSET 8u
#define CAP_LENGTH 12u
#define CAP_DATA   16u

enum cap_kind { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_WINDOW = 5 };

/* The common registers, by their offset. */
#define COMMON_OFFERED_SELECT 0u
#define COMMON_OFFERED        4u
#define COMMON_TAKEN_SELECT   8u
#define COMMON_TAKEN          12u
#define COMMON_STATUS         20u /* 8 bits */
#define COMMON_QUEUE_SELECT   22u /* from here on of 16 bits */
#define COMMON_QUEUE_SIZE     24u
#define COMMON_QUEUE_VECTOR   26u
#define COMMON_QUEUE_ENABLE   28u
#define COMMON_QUEUE_NOTIFY   30u
#define COMMON_QUEUE_DESC     32u /* of 64 bits, as two */
#define COMMON_QUEUE_DRIVER   40u
#define COMMON_QUEUE_DEVICE   48u

#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER      2u
#define STATUS_RUNS        4u
#define STATUS_FEATURES_OK 8u

#define QUEUE_SIZE    4u /* a power of two; more would stay unused */
#define QUEUE_NO_IRQ  1u
#define BUFFER_WRITES 2u /* the device may write to it */

struct virtio_descriptor {
    uint64_t physical;
    uint32_t bytes;
    uint16_t flags;
    uint16_t next;
};

/* All of a queue in one page, each part aligned as the standard has it. */
struct virtio_rings {
    struct virtio_descriptor descriptors[QUEUE_SIZE];
    struct {
        uint16_t flags;
        _Atomic uint16_t index; /* [A] release: the device reads what stands before it */
        uint16_t ring[QUEUE_SIZE];
    } available;
    struct {
        uint16_t flags;
        _Atomic uint16_t index; /* [A] acquire; written by the device */
        struct {
            uint32_t id, bytes;
        } ring[QUEUE_SIZE];
    } used __attribute__((aligned(4)));
};
_Static_assert(sizeof(struct virtio_rings) <= VIRTIO_QUEUE_PAGES * ARCH_PAGE_BYTES, "fits");

/* ---- Registers, through the window ---- */

static void window_aim(const struct virtio *device, uint8_t bar, uint32_t offset, unsigned bytes)
{
    pci_write(device->function, device->window + CAP_BAR, bar);
    pci_write(device->function, device->window + CAP_OFFSET, offset);
    pci_write(device->function, device->window + CAP_LENGTH, bytes);
}

static uint32_t common_read(const struct virtio *device, unsigned offset, unsigned bytes)
{
    window_aim(device, device->common_bar, device->common + offset, bytes);

    uint32_t value = pci_read(device->function, device->window + CAP_DATA);

    return bytes == 4 ? value : value & ((1u << 8 * bytes) - 1);
}

static void common_write(const struct virtio *device, unsigned offset, unsigned bytes,
                         uint32_t value)
{
    window_aim(device, device->common_bar, device->common + offset, bytes);
    pci_write(device->function, device->window + CAP_DATA, value);
}

static void common_write64(const struct virtio *device, unsigned offset, uint64_t value)
{
    common_write(device, offset, 4, (uint32_t)value);
    common_write(device, offset + 4, 4, (uint32_t)(value >> 32));
}

static void status_add(const struct virtio *device, unsigned bit)
{
    common_write(device, COMMON_STATUS, 1, common_read(device, COMMON_STATUS, 1) | bit);
}

/* ---- Opening ---- */

/* Fill in where things are; false: not all of them are there.  The first of a kind counts. */
static bool virtio_locate(struct virtio *device)
{
    bool has_common = false, has_notify = false;
    unsigned at = 0;

    while ((at = pci_capability(device->function, VIRTIO_CAPABILITY, at)) != 0) {
        enum cap_kind kind = pci_read(device->function, at) >> 24;
        uint8_t bar = (uint8_t)pci_read(device->function, at + CAP_BAR);
        uint32_t offset = pci_read(device->function, at + CAP_OFFSET);

        if (kind == CAP_COMMON && !has_common) {
            has_common = true;
            device->common_bar = bar;
            device->common = offset;
        } else if (kind == CAP_NOTIFY && !has_notify) {
            has_notify = true;
            device->notify_bar = bar;
            device->notify = offset;
            device->notify_stride = pci_read(device->function, at + CAP_DATA);
        } else if (kind == CAP_WINDOW && device->window == 0) {
            device->window = at;
        }
    }
    return has_common && has_notify && device->window != 0;
}

bool virtio_close(struct virtio *device)
{
    uint64_t give_up = arch_ticks() + arch_ticks_per_second();

    common_write(device, COMMON_STATUS, 1, 0);
    while (common_read(device, COMMON_STATUS, 1) != 0) {
        if (arch_ticks() > give_up)
            return false;
        arch_relax();
    }
    return true;
}

static uint64_t virtio_offered(const struct virtio *device)
{
    uint64_t features = 0;

    for (unsigned half = 0; half < 2; half++) {
        common_write(device, COMMON_OFFERED_SELECT, 4, half);
        features |= (uint64_t)common_read(device, COMMON_OFFERED, 4) << 32 * half;
    }
    return features;
}

bool virtio_open(struct virtio *device, pci_function function, uint64_t wanted, uint64_t *offered)
{
    *device = (struct virtio){.function = function};
    if (!virtio_locate(device) || !virtio_close(device))
        return false;

    status_add(device, STATUS_ACKNOWLEDGE);
    status_add(device, STATUS_DRIVER);
    *offered = virtio_offered(device);
    device->features = *offered & (wanted | VIRTIO_VERSION_1);
    for (unsigned half = 0; half < 2; half++) {
        common_write(device, COMMON_TAKEN_SELECT, 4, half);
        common_write(device, COMMON_TAKEN, 4, (uint32_t)(device->features >> 32 * half));
    }
    status_add(device, STATUS_FEATURES_OK);
    if ((device->features & VIRTIO_VERSION_1) &&
        (common_read(device, COMMON_STATUS, 1) & STATUS_FEATURES_OK))
        return true;
    virtio_close(device);
    return false;
}

static uint64_t physical_of(const void *addr)
{
    return (uintptr_t)addr - arch_direct_base();
}

bool virtio_queue_open(struct virtio_queue *queue, struct virtio *device, unsigned index,
                       void *rings)
{
    *queue = (struct virtio_queue){.device = device, .rings = rings, .index = (uint16_t)index};
    common_write(device, COMMON_QUEUE_SELECT, 2, index);
    if (common_read(device, COMMON_QUEUE_SIZE, 2) < QUEUE_SIZE)
        return false;

    memset(rings, 0, VIRTIO_QUEUE_PAGES * ARCH_PAGE_BYTES);
    queue->rings->available.flags = QUEUE_NO_IRQ;
    common_write(device, COMMON_QUEUE_SIZE, 2, QUEUE_SIZE);
    common_write(device, COMMON_QUEUE_VECTOR, 2, VIRTIO_NO_VECTOR);
    common_write64(device, COMMON_QUEUE_DESC, physical_of(queue->rings->descriptors));
    common_write64(device, COMMON_QUEUE_DRIVER, physical_of(&queue->rings->available));
    common_write64(device, COMMON_QUEUE_DEVICE, physical_of(&queue->rings->used));
    queue->notify_at =
        device->notify + common_read(device, COMMON_QUEUE_NOTIFY, 2) * device->notify_stride;
    common_write(device, COMMON_QUEUE_ENABLE, 2, 1);
    return true;
}

void virtio_start(struct virtio *device)
{
    pci_let_master(device->function);
    status_add(device, STATUS_RUNS);
}

/* ---- Running ---- */

bool virtio_offer(struct virtio_queue *queue, uint64_t physical, uint32_t bytes)
{
    struct virtio_rings *rings = queue->rings;

    rings->descriptors[0] =
        (struct virtio_descriptor){.physical = physical, .bytes = bytes, .flags = BUFFER_WRITES};
    rings->available.ring[queue->sent % QUEUE_SIZE] = 0;
    queue->sent++;
    atomic_store_explicit(&rings->available.index, queue->sent, memory_order_release);

    window_aim(queue->device, queue->device->notify_bar, queue->notify_at, 2);
    pci_write(queue->device->function, queue->device->window + CAP_DATA, queue->index);

    uint64_t give_up = arch_ticks() + arch_ticks_per_second();

    while (atomic_load_explicit(&rings->used.index, memory_order_acquire) != queue->sent) {
        if (arch_ticks() > give_up)
            return false;
        arch_relax();
    }
    return true;
}
