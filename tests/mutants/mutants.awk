# awk -f mutants.awk LIST... -- a line "name build cpus seconds file with tests" for each mutant, in order.
# awk -f mutants.awk apply=all LIST... -- can each be applied?  Run where the sources are.
# awk -f mutants.awk apply=NAME LIST... -- print that mutant's file, changed.
# Complains on stderr and exits 1 where a list or a mutant does not hold.  README.md has the format.

function complain(where, what)
{
    print where ": " what | "cat >&2"
    has_failed = 1
}

function begin(what)
{
    if (what in file)
        complain(FILENAME ":" FNR, "there is another mutant " what)
    mutant = what
    names[++count] = what
    origin[what] = FILENAME ":" FNR
    cpus[what] = 2
    seconds[what] = 60
    with[what] = "-"
    file[what] = build[what] = tests[what] = why[what] = ""
    hunks[what] = 0
    side = ""
}

# A line of a hunk; a "-" behind a "+", or behind anything else, begins another.
function hunk_line(sign, text)
{
    if (sign == "-" && side != "-") {
        old[mutant, ++hunks[mutant]] = text
        new[mutant, hunks[mutant]] = ""
    } else if (sign == "-") {
        old[mutant, hunks[mutant]] = old[mutant, hunks[mutant]] "\n" text
    } else if (side == "-") {
        new[mutant, hunks[mutant]] = text
    } else {
        new[mutant, hunks[mutant]] = new[mutant, hunks[mutant]] "\n" text
    }
    side = sign
}

/^#/ || /^$/ { next }

$1 == "mutant" && NF == 2 { begin($2); next }
mutant == "" { complain(FILENAME ":" FNR, "no mutant begins here"); next }
$1 == "why" { why[mutant] = $0; next }
$1 == "file" && NF == 2 { file[mutant] = $2; next }
$1 == "build" && NF == 2 { build[mutant] = $2; next }
$1 == "tests" && NF == 2 { tests[mutant] = $2; next }
$1 == "cpus" && NF == 2 { cpus[mutant] = $2 + 0; next }
$1 == "with" && NF == 2 { with[mutant] = $2; next }
$1 == "seconds" && NF == 2 { seconds[mutant] = $2 + 0; next }
/^-( |$)/ || (/^[+]( |$)/ && side != "") { hunk_line(substr($0, 1, 1), substr($0, 3)); next }
{ complain(FILENAME ":" FNR, "not a line of a mutant: " $0) }

function check(what)
{
    if (file[what] == "" || tests[what] == "" || why[what] == "" || hunks[what] == 0)
        complain(origin[what], what " lacks a file, tests, a why or a text")
    if (build[what] !~ /^(hosted|hosted-address|hosted-thread|qemu)$/)
        complain(origin[what], what ": no such build: " build[what])
}

function read_whole(path,    text, line)
{
    while ((getline line <path) > 0)
        text = text line "\n"
    close(path)
    return text
}

# The text with the one place where `from` stands replaced by `to`.
function replace_once(what, text, from, to,    at)
{
    at = index(text, from)
    if (at == 0)
        complain(what, "not in " file[what] ": " from)
    else if (index(substr(text, at + 1), from) != 0)
        complain(what, "more than once in " file[what] ": " from)
    return substr(text, 1, at - 1) to substr(text, at + length(from))
}

function changed(what,    text, i)
{
    text = read_whole(file[what])
    for (i = 1; i <= hunks[what]; i++)
        text = replace_once(what, text, old[what, i], new[what, i])
    return text
}

function print_changed(what,    text)
{
    if (!(what in file)) {
        complain(what, "no such mutant")
        return
    }
    text = changed(what)
    if (!has_failed)
        printf "%s", text
}

function print_line(what)
{
    print what, build[what], cpus[what], seconds[what], file[what], with[what], tests[what]
}

END {
    for (i = 1; i <= count; i++)
        check(names[i])
    if (apply != "" && apply != "all")
        print_changed(apply)
    for (i = 1; i <= count && (apply == "all" || apply == ""); i++)
        if (apply == "all")
            changed(names[i])
        else
            print_line(names[i])
    exit has_failed
}
