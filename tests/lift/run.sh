#!/bin/sh
# run.sh -- mm/ lifted out of the tree onto another port (the build has made it), as a KTAP test.

cd "$(dirname "$0")/../.." || exit 1
. tests/ktap.sh

allocates_on_several_threads() {
    build/lift/lift
}

ktap lift allocates_on_several_threads
