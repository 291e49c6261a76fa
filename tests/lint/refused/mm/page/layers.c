/* What `make lint` must refuse, line by line: see lint.sh. */
#include "mm/slab/slab.h"
#include "kernel/lock.h"
#include "page.h"
#include <stdlib.h>
