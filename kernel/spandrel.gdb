# Commands for a debugger that is attached to the kernel; `make gdb` reads this.  `help spandrel`.
#
# They only read memory, so they are good at any stop, inside of the allocator and of a panic too.
# An argument is one word: no blanks in it.
#
# What they know of the kernel beyond the names of its variables and fields: BOOT_DIRECT_BASE
# (boot/boot_info.h), PAGE_BYTES and GRANULE_BYTES (mm/mm.h), the form of a span_table entry and
# SPAN_CLASS_NONE (mm/span/span.h), tokens and tops of magazines (kernel/base/seq_magazine.h), and how
# a magazine and its count are one word (mm/slab/magazine.h).  Of a table's entry that leads to a span
# the upper bytes are 0xff 0xff 0x80, as long as RAM lies below 1022 GiB.

set $spandrel_direct = 0xffff800000000000
set $spandrel_page = 4096
set $spandrel_granule = 8192
set $spandrel_no_class = 254
set $spandrel_token = 0x5bd1e995
set $spandrel_block = 256

define spandrel
  help spandrel
end
document spandrel
The project's commands:
  spandrel-spans          every span there is
  spandrel-span ADDRESS   the span, class, slot and state of an address
  spandrel-magazines INDEX   what magazines hold of a size class or cache
  spandrel-mem            page heaps and spans
  spandrel-log            the last 16 KiB that went to the console
Each has a help text of its own.
end

# $spandrel_span: the span that table entry $arg0, counted from its middle, leads to; 0: none.
# $spandrel_granules, $spandrel_slots and $spandrel_slot_bytes are its own; 0 slots: a large object.
define spandrel_entry
  set $spandrel_value = ((unsigned long *)span_table)[$arg0]
  set $spandrel_span = (struct span *)((unsigned long)&span_none + $spandrel_value)
  if $spandrel_value == 0 || $spandrel_span->span_class >= $spandrel_no_class
    set $spandrel_span = (struct span *)0
  else
    set $spandrel_slots = 0
    set $spandrel_granules = $spandrel_span->free_word
    if $spandrel_span->owner != 0
      set $spandrel_slots = $spandrel_span->owner->layout.slot_count
      set $spandrel_slot_bytes = $spandrel_span->owner->layout.slot_bytes
      set $spandrel_granules = $spandrel_span->owner->layout.granules
    end
  end
end

# What $spandrel_span is: its owner's name and its slots.
define spandrel_describe
  printf "0x%lx %6lu KiB  class %3u  ", $spandrel_span->base, \
    $spandrel_granules * $spandrel_granule / 1024, $spandrel_span->span_class
  if $spandrel_slots == 0
    printf "one large object\n"
  else
    printf "%s: %u slots of %u bytes, %u not taken\n", \
      ((struct central *)$spandrel_span->owner)->name, $spandrel_slots, $spandrel_slot_bytes, \
      $spandrel_span->free_count
  end
end

# $spandrel_state: 0 in use, 1 free in the span, 2 free elsewhere; of slot $arg0 of $spandrel_span
define spandrel_slot
  set $spandrel_map = &$spandrel_span->free_word
  if $spandrel_slots > 64
    set $spandrel_map = (unsigned long *)($spandrel_span->base + \
      $spandrel_granules * $spandrel_granule) - ($spandrel_slots + 63) / 64
  end
  set $spandrel_at = $spandrel_span->base + ($arg0) * $spandrel_slot_bytes
  set $spandrel_state = 0
  if ($spandrel_map[($arg0) / 64] >> ($arg0) % 64) & 1
    set $spandrel_state = 1
  else
    if *(unsigned long *)$spandrel_at == 2 * $spandrel_at + $spandrel_token
      set $spandrel_state = 2
    end
  end
end

define spandrel-span
  set $spandrel_address = (unsigned long)($arg0)
  set $spandrel_high = (long)$spandrel_address >> 47
  set $spandrel_span = (struct span *)0
  if span_table != 0 && ($spandrel_high == 0 || $spandrel_high == -1)
    spandrel_entry (long)$spandrel_address>>13
  end
  if $spandrel_span == 0
    printf "no span holds 0x%lx\n", $spandrel_address
  else
    spandrel_describe
    set $spandrel_offset = $spandrel_address - $spandrel_span->base
    if $spandrel_slots == 0
      printf "  0x%lx is byte %lu of it\n", $spandrel_address, $spandrel_offset
    else
      set $spandrel_number = $spandrel_offset / $spandrel_slot_bytes
      if $spandrel_number >= $spandrel_slots
        printf "  0x%lx is in no slot\n", $spandrel_address
      else
        printf "  0x%lx is byte %lu of slot %lu", $spandrel_address, \
          $spandrel_offset % $spandrel_slot_bytes, $spandrel_number
        spandrel_slot $spandrel_number
        if $spandrel_state == 0
          printf ", which is in use\n"
        end
        if $spandrel_state == 1
          printf ", which is free in its span\n"
        end
        if $spandrel_state == 2
          printf ", which is free, in a magazine, the quarantine or on its way\n"
        end
        set $spandrel_shift = ((struct central *)$spandrel_span->owner)->object_shift
        if $spandrel_shift != 0
          printf "  its object begins at byte %u of the slot\n", $spandrel_shift
        end
      end
    end
  end
end
document spandrel-span
spandrel-span ADDRESS: the span that holds it, its class, and the slot and its state.
end

# $spandrel_span: the first span at or after granule $spandrel_next of the direct map, 0: none;
# $spandrel_next is then the granule behind it.  The table is searched for an entry's upper bytes.
define spandrel_next_span
  set $spandrel_span = (struct span *)0
  set $spandrel_low = (long)$spandrel_direct >> 13
  set $spandrel_limit = page_heaps[0].page_limit * $spandrel_page / $spandrel_granule
  set $spandrel_entries = (unsigned long *)span_table + $spandrel_low
  while $spandrel_span == 0 && $spandrel_next < $spandrel_limit
    pipe find /1b (unsigned char *)&$spandrel_entries[$spandrel_next], \
      (unsigned char *)&$spandrel_entries[$spandrel_limit] - 1, 0x80, 0xff, 0xff | cat >/dev/null
    if $numfound == 0
      set $spandrel_next = $spandrel_limit
    else
      set $spandrel_next = ((unsigned long)$_ - (unsigned long)$spandrel_entries) / 8
      spandrel_entry $spandrel_low+(long)$spandrel_next
      set $spandrel_next = $spandrel_next + 1
    end
  end
  if $spandrel_span != 0
    set $spandrel_next = $spandrel_next - 1 + $spandrel_granules
  end
end

define spandrel-spans
  set $spandrel_next = 0ul
  set $spandrel_count = 0ul
  set $spandrel_bytes = 0ul
  spandrel_next_span
  while $spandrel_span != 0
    spandrel_describe
    set $spandrel_count = $spandrel_count + 1
    set $spandrel_bytes = $spandrel_bytes + $spandrel_granules * $spandrel_granule
    spandrel_next_span
  end
  printf "%lu spans, %lu KiB\n", $spandrel_count, $spandrel_bytes / 1024
end
document spandrel-spans
spandrel-spans: every span there is, by address, and their number.  About 2 ms for each.
end

# The slots of magazine $arg0, one a line; $spandrel_count is more by as many.
define spandrel_full
  set $spandrel_left = $arg0 % $spandrel_block
  set $spandrel_word = (unsigned long *)($arg0 - $spandrel_left + $spandrel_block)
  set $spandrel_count = $spandrel_count + $spandrel_left
  while $spandrel_left > 0
    set $spandrel_word = $spandrel_word - 1
    printf "    0x%lx\n", *$spandrel_word
    set $spandrel_left = $spandrel_left - 1
  end
end

# The same of a loaded one, by its top, not 0.
define spandrel_loaded
  set $spandrel_word = (unsigned long *)((unsigned long)&seq_closed + $spandrel_block - 8 + $arg0)
  while *$spandrel_word != (unsigned long)&seq_nothing
    printf "    0x%lx\n", *$spandrel_word
    set $spandrel_word = $spandrel_word - 1
    set $spandrel_count = $spandrel_count + 1
  end
end

define spandrel-magazines
  set $spandrel_index = (unsigned)($arg0)
  set $spandrel_central = *(struct central **)&slab_by_index[$spandrel_index]
  set $spandrel_count = 0ul
  set $spandrel_cpu = 0
  while $spandrel_central != 0 && $spandrel_cpu < *(unsigned *)&cpus_running
    set $spandrel_own = (struct slab_cpu *)((unsigned long)&slab_cpu + \
      percpu_offsets[$spandrel_cpu])
    if $spandrel_own->tops[$spandrel_index] != 0
      printf "  CPU %u, loaded, with room for %u:\n", $spandrel_cpu, \
        $spandrel_own->room[$spandrel_index]
      spandrel_loaded $spandrel_own->tops[$spandrel_index]
    end
    if $spandrel_own->spares[$spandrel_index] != 0
      printf "  CPU %u, spare:\n", $spandrel_cpu
      spandrel_full $spandrel_own->spares[$spandrel_index]
    end
    set $spandrel_cpu = $spandrel_cpu + 1
  end
  set $spandrel_shard = 0
  while $spandrel_central != 0 && \
    $spandrel_shard < sizeof($spandrel_central->shards) / sizeof($spandrel_central->shards[0])
    set $spandrel_magazine = $spandrel_central->shards[$spandrel_shard].full
    while $spandrel_magazine != 0
      printf "  depot, shard %u:\n", $spandrel_shard
      spandrel_full $spandrel_magazine
      set $spandrel_magazine = *(unsigned long *)($spandrel_magazine & -$spandrel_block)
    end
    set $spandrel_shard = $spandrel_shard + 1
  end
  if $spandrel_central == 0
    printf "no class or cache has magazines of number %u\n", $spandrel_index
  else
    printf "%lu slots of %s are in magazines\n", $spandrel_count, $spandrel_central->name
  end
end
document spandrel-magazines
spandrel-magazines INDEX: the slots in magazines of a size class or cache, CPU by CPU and in the
depot, newest first.  INDEX is its number there: a size class's own, or a span's `index`.
end

define spandrel-mem
  set $spandrel_node = 0
  while $spandrel_node < page_node_count
    set $spandrel_heap = &page_heaps[$spandrel_node]
    printf "node %u: %lu of %lu KiB free in the page heap, not counting CPUs' windows; ", \
      $spandrel_node, $spandrel_heap->free_pages * $spandrel_page / 1024, \
      $spandrel_heap->present_pages * $spandrel_page / 1024
    printf "%lu KiB known to be zero, %lu KiB given to the host\n", \
      *(unsigned long *)&$spandrel_heap->zero_pages * $spandrel_page / 1024, \
      $spandrel_heap->scavenged_pages * $spandrel_page / 1024
    set $spandrel_node = $spandrel_node + 1
  end
  printf "spans: %lu KiB, %lu descriptors\n", \
    *(unsigned long *)&span_live_bytes / 1024, span_pool.live
end
document spandrel-mem
spandrel-mem: what the page heaps have free, node for node, and what spans take.
end

define spandrel-log
  set $spandrel_next = 0ul
  if print_log_count > sizeof(print_log)
    set $spandrel_next = print_log_count - sizeof(print_log)
  end
  while $spandrel_next < print_log_count
    set $spandrel_piece = sizeof(print_log) - $spandrel_next % sizeof(print_log)
    if $spandrel_piece > print_log_count - $spandrel_next
      set $spandrel_piece = print_log_count - $spandrel_next
    end
    set $spandrel_text = &print_log[$spandrel_next % sizeof(print_log)]
    set $spandrel_next = $spandrel_next + $spandrel_piece
    while $spandrel_piece > 0
      printf "%c", *$spandrel_text
      set $spandrel_text = $spandrel_text + 1
      set $spandrel_piece = $spandrel_piece - 1
    end
  end
  printf "\n"
end
document spandrel-log
spandrel-log: the last 16 KiB that went to the console.
end
