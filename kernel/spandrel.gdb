# Commands for a debugger that is attached to the kernel; `make gdb` reads this.  `help spandrel`.
#
# They only read memory, so they are good at any stop, inside of the allocator and of a panic too.
# An argument is one word: no blanks in it.
#
# What they know of the kernel beyond the names of its variables and fields: BOOT_DIRECT_BASE
# (boot/boot_info.h), PAGE_BYTES and GRANULE_BYTES (mm/mm.h), and the form of a span_table entry
# (mm/span/span.h), which has the class in its upper byte and in the others a descriptor; of that the
# upper bytes are 0xff 0x80 as long as RAM lies below 1 TiB.

set $spandrel_direct = 0xffff800000000000
set $spandrel_page = 4096
set $spandrel_granule = 8192
set $spandrel_freed = 255

define spandrel
  help spandrel
end
document spandrel
The project's commands:
  spandrel-spans          every span there is
  spandrel-span ADDRESS   the span, class, slot and state of an address
  spandrel-magazines CLASS   what magazines hold of a span class
  spandrel-mem            page heaps and spans
  spandrel-log            the last 16 KiB that went to the console
Each has a help text of its own.
end

# $spandrel_span: the span of table entry $arg0, 0 if it is none's
define spandrel_entry
  set $spandrel_value = *(unsigned long *)&span_table[$arg0]
  set $spandrel_span = (struct span *)0
  if $spandrel_value != 0 && ($spandrel_value >> 56) != $spandrel_freed
    set $spandrel_span = (struct span *)((long)($spandrel_value << 8) >> 8)
  end
end

# What $spandrel_span is: its owner's name and its slots.
define spandrel_describe
  printf "0x%lx %6lu KiB  class %3u  ", $spandrel_span->base, \
    $spandrel_span->granules * $spandrel_granule / 1024, $spandrel_span->span_class
  if $spandrel_span->slot_bytes == 0
    printf "one large object\n"
  else
    printf "%s: %u slots of %u bytes, %u not taken\n", \
      ((struct central *)$spandrel_span->owner)->name, \
      (unsigned)($spandrel_span->slot_limit >> 32), $spandrel_span->slot_bytes, \
      $spandrel_span->free_count
  end
end

# $spandrel_state: 0 in use, 1 free in the span, 2 free elsewhere; of slot $arg0 of $spandrel_span
define spandrel_slot
  set $spandrel_slots = (unsigned)($spandrel_span->slot_limit >> 32)
  set $spandrel_map = &$spandrel_span->free_word
  if $spandrel_slots > 64
    set $spandrel_end = ($spandrel_span->base & -$spandrel_granule) + \
      $spandrel_span->granules * $spandrel_granule
    set $spandrel_map = (unsigned long *)$spandrel_end - ($spandrel_slots + 63) / 64
  end
  set $spandrel_at = $spandrel_span->base + ($arg0) * $spandrel_span->slot_bytes
  set $spandrel_state = 0
  if ($spandrel_map[($arg0) / 64] >> ($arg0) % 64) & 1
    set $spandrel_state = 1
  else
    set $spandrel_canary = ((struct central *)$spandrel_span->owner)->canary_offset
    if *(unsigned long *)($spandrel_at + $spandrel_canary) == ($spandrel_at ^ slab_secret)
      set $spandrel_state = 2
    end
  end
end

define spandrel-span
  set $spandrel_address = (unsigned long)($arg0)
  set $spandrel_index = ($spandrel_address - $spandrel_direct) / $spandrel_granule
  set $spandrel_span = (struct span *)0
  if $spandrel_index < span_table_count
    spandrel_entry $spandrel_index
  end
  if $spandrel_span == 0
    printf "no span holds 0x%lx\n", $spandrel_address
  else
    spandrel_describe
    set $spandrel_offset = $spandrel_address - $spandrel_span->base
    if $spandrel_span->slot_bytes == 0
      printf "  0x%lx is byte %lu of it\n", $spandrel_address, $spandrel_offset
    else
      set $spandrel_number = $spandrel_offset / $spandrel_span->slot_bytes
      if $spandrel_number >= $spandrel_span->slot_limit >> 32
        printf "  0x%lx is in no slot\n", $spandrel_address
      else
        printf "  0x%lx is byte %lu of slot %lu", $spandrel_address, \
          $spandrel_offset % $spandrel_span->slot_bytes, $spandrel_number
        spandrel_slot $spandrel_number
        if $spandrel_state == 0
          printf ", which is in use\n"
        end
        if $spandrel_state == 1
          printf ", which is free in its span\n"
        end
        if $spandrel_state == 2
          printf ", which is free, in a magazine or on its way\n"
        end
      end
    end
  end
end
document spandrel-span
spandrel-span ADDRESS: the span that holds it, its class, and the slot and its state.
end

# $spandrel_span: the first span at or after table entry $spandrel_next, 0: none; $spandrel_next is
# then the entry behind it.  The table is searched for the descriptor's upper bytes.
define spandrel_next_span
  set $spandrel_span = (struct span *)0
  while $spandrel_span == 0 && $spandrel_next < span_table_count
    pipe find /1b (unsigned char *)&span_table[$spandrel_next], \
      (unsigned char *)&span_table[span_table_count] - 1, 0x80, 0xff | cat >/dev/null
    if $numfound == 0
      set $spandrel_next = span_table_count
    else
      set $spandrel_next = ((unsigned long)$_ - (unsigned long)span_table) / 8
      spandrel_entry $spandrel_next
      set $spandrel_next = $spandrel_next + 1
    end
  end
  if $spandrel_span != 0
    set $spandrel_next = $spandrel_next - 1 + $spandrel_span->granules
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
    set $spandrel_bytes = $spandrel_bytes + $spandrel_span->granules * $spandrel_granule
    spandrel_next_span
  end
  printf "%lu spans, %lu KiB\n", $spandrel_count, $spandrel_bytes / 1024
end
document spandrel-spans
spandrel-spans: every span there is, by address, and their number.  About 2 ms for each.
end

define spandrel-magazines
  set $spandrel_class = (unsigned)($arg0)
  set $spandrel_next = 0ul
  set $spandrel_count = 0ul
  spandrel_next_span
  while $spandrel_span != 0
    if $spandrel_span->span_class == $spandrel_class && $spandrel_span->slot_bytes != 0
      set $spandrel_number = 0
      while $spandrel_number < $spandrel_span->slot_limit >> 32
        spandrel_slot $spandrel_number
        if $spandrel_state == 2
          printf "0x%lx\n", $spandrel_at
          set $spandrel_count = $spandrel_count + 1
        end
        set $spandrel_number = $spandrel_number + 1
      end
    end
    spandrel_next_span
  end
  printf "%lu slots of span class %u are free, in magazines\n", $spandrel_count, $spandrel_class
end
document spandrel-magazines
spandrel-magazines CLASS: slots of a span class that have been freed and are not back in their
spans: what the magazines of all CPUs hold.  Found by their canaries.
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
    *(unsigned long *)&span_live_bytes / 1024, desc_pool.live
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
