# awk -f summary.awk suite=NAME status=N out=FILE LOG -- judge a suite's KTAP in LOG.
# Prints every failed test with the lines that led to it, and writes "passed failed skipped" to
# FILE.  A missing plan, missing tests or a missing closing line is one more failure: a crash.

function crash(why)
{
    print "not ok " suite ": " why
    failed++
    crashed = 1
}

{ sub(/\r$/, "") }

/^1\.\.[0-9]+$/ {
    planned += substr($0, 4)
    plans++
    held = 0
    next
}

/^ok / {
    if ($0 ~ /# SKIP/)
        skipped++
    else
        passed++
    held = 0
    next
}

/^not ok / {
    for (i = 1; i <= held; i++)
        print line[i]
    print
    failed++
    held = 0
    next
}

/^[0-9]+ passed, [0-9]+ failed/ {
    closed += $1 + $3
    closings++
    next
}

/^SUMMARY: / { sanitizer[$0]++ }

{ line[++held] = $0 }

END {
    counted = passed + failed
    if (status == 124 || status == 137)
        crash("timed out")
    else if (plans == 0)
        crash("no plan")
    else if (counted + skipped != planned)
        crash("planned " planned " tests, saw " counted + skipped)
    else if (closings != plans)
        crash("no closing line")
    else if (closed != counted)
        crash("closing line counts " closed " tests, saw " counted)
    else if (status != 0 && failed == 0)
        crash("exit status " status)
    if (crashed) {
        for (what in sanitizer)
            print "    " what " (" sanitizer[what] " times)"
        for (i = held > 40 ? held - 39 : 1; i <= held; i++)
            print "    " line[i]
    }
    print passed + 0, failed + 0, skipped + 0 >out
}
