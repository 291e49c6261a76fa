# Compares the lists of GC_TYPEs with what their structs hold; types.sh calls it.
#
#   { readelf -p gc_lists OBJECT; readelf --debug-dump=info OBJECT; } | awk -f types.awk
#
# A GC_PTR is an array of 1 x 1 pointers, and nothing else is.  From a list's NAME the variable
# gc_entry_NAME leads to the struct: its type is a pointer to that.  Each member of the struct is
# walked, through embedded structs and arrays of these, and each GC_PTR on the way is marked with the
# name that a list would give it.

# What is behind "DW_AT_name : (form) (offset: 0x1f):", as readelf's versions have it.
function value(    text)
{
    text = substr($0, index($0, ": ") + 2)
    while (sub(/^\([^()]*\)[: ]*/, "", text))
        continue
    sub(/[ \t]+$/, "", text)
    return text
}

# The end of a reference, as in "(ref4) <0x5d>, unsigned int".
function reference()
{
    return match($0, /<0x[0-9a-f]+>/) ? substr($0, RSTART + 3, RLENGTH - 4) : ""
}

function stripped(id)
{
    while (tag[id] ~ /^DW_TAG_(typedef|const_type|volatile_type|atomic_type|restrict_type)$/)
        id = type[id]
    return id
}

# An array's element, that is no array; its bounds are then bounds[1 .. bound_count].
function element(id, bounds,    i)
{
    bound_count = 0
    while (tag[id] == "DW_TAG_array_type") {
        for (i = 1; i <= children[id]; i++)
            bounds[++bound_count] = bound[child[id, i]]
        id = stripped(type[id])
    }
    return id
}

function is_aggregate(id)
{
    return tag[id] ~ /^DW_TAG_(structure|union)_type$/
}

function is_gc_ptr(id,    bounds)
{
    return tag[element(id, bounds)] == "DW_TAG_pointer_type" && bounds[bound_count] == 1 &&
        bounds[bound_count - 1] == 1
}

# Does an object of this type have a GC_PTR in it?
function has_gc_ptr(id,    bounds, i)
{
    id = stripped(id)
    if (is_gc_ptr(id))
        return 1
    id = element(id, bounds)
    if (!is_aggregate(id))
        return 0
    if (!(id in has)) {
        has[id] = 0
        for (i = 1; i <= children[id]; i++)
            if (tag[child[id, i]] == "DW_TAG_member" && has_gc_ptr(type[child[id, i]]))
                has[id] = 1
    }
    return has[id]
}

function complain(what)
{
    print where ": " macro "(" name ", ...): " what
    has_failed = 1
}

# `path` is the name of something that lies in the struct; "": the struct itself.
function walk(id, path)
{
    id = stripped(id)
    if (!has_gc_ptr(id))
        return
    if (is_gc_ptr(id))
        pointers[++pointer_count] = path
    else if (tag[id] == "DW_TAG_array_type")
        walk_array(id, path)
    else if (tag[id] == "DW_TAG_union_type")
        complain((path == "" ? struct " is, or has without a name," : \
            "field `" path "` of " struct " is") " a union with a GC_PTR: GC_TYPE_CONSERVATIVE")
    else
        walk_members(id, path)
}

function walk_members(id, path,    i, member)
{
    for (i = 1; i <= children[id]; i++) {
        member = child[id, i]
        if (tag[member] == "DW_TAG_member")
            walk(type[member], path (path != "" && called[member] != "" ? "." : "") called[member])
    }
}

function walk_array(id, path,    bounds)
{
    id = element(id, bounds)
    walk_elements(id, path, bounds, 1, bound_count)
}

function walk_elements(id, path, bounds, dimension, dimensions,    i)
{
    if (dimension > dimensions)
        walk(id, path)
    else
        for (i = 0; i < bounds[dimension]; i++)
            walk_elements(id, path "[" i "]", bounds, dimension + 1, dimensions)
}

function struct_name(id,    real)
{
    real = stripped(id)
    if (called[real] != "")
        return (tag[real] == "DW_TAG_union_type" ? "union " : "struct ") called[real]
    return called[type[id]] # GC_TYPE's typedef of the user's
}

# One list, as "FILE:LINE|MACRO|NAME|FIELDS".
function compare(list,    part, fields, count, listed, is_pointer, object, i)
{
    split(list, part, "|")
    where = part[1]
    macro = part[2]
    name = part[3]
    gsub(/[ \t]/, "", part[4])
    count = split(part[4], fields, ",")
    if (macro == "GC_TYPE_CONSERVATIVE")
        return
    object = type[stripped(type[entry[name]])]
    struct = struct_name(object)
    if (stripped(object) == "") {
        complain("no debug information says what it is")
        return
    }
    pointer_count = 0
    walk(object, "")
    for (i = 1; i <= count; i++) {
        if (fields[i] in listed)
            complain("field `" fields[i] "` of " struct " is listed twice")
        listed[fields[i]] = 1
    }
    for (i = 1; i <= pointer_count; i++) {
        is_pointer[pointers[i]] = 1
        if (!(pointers[i] in listed))
            complain("field `" pointers[i] "` of " struct " is a GC_PTR and is not listed")
    }
    for (i = 1; i <= count; i++)
        if (!(fields[i] in is_pointer))
            complain("field `" fields[i] "` of " struct " is listed and is no GC_PTR")
}

/^ *\[ *[0-9a-f]+\] / {
    sub(/^ *\[ *[0-9a-f]+\] */, "")
    lists[++list_count] = $0
}

/^ *<[0-9a-f]+><[0-9a-f]+>: .*\(DW_TAG_/ {
    split($1, part, /[<>]+/)
    depth = part[2]
    id = part[3]
    tag[id] = substr($NF, 2, length($NF) - 2)
    at[depth] = id
    if (depth > 0)
        child[at[depth - 1], ++children[at[depth - 1]]] = id
}

$2 == "DW_AT_type" { type[id] = reference() }
$2 == "DW_AT_name" { called[id] = value() }
$2 == "DW_AT_upper_bound" { bound[id] = value() + 1 }
$2 == "DW_AT_count" { bound[id] = value() + 0 }
$2 == "DW_AT_name" && tag[id] == "DW_TAG_variable" && called[id] ~ /^gc_entry_/ {
    entry[substr(called[id], length("gc_entry_") + 1)] = id
}

END {
    if (list_count == 0) {
        print "types.awk: no lists"
        exit 1
    }
    for (i = 1; i <= list_count; i++)
        compare(lists[i])
    exit has_failed
}
