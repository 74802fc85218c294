# Functions on texts, patterns and times that policies use.
package airlock.authz

import rego.v1

default allow := false

allow if count(fitting) > 0

fitting contains name if {
	some name, pattern in data.plain
	glob.match(pattern, null, input.call.upstream)
}

fitting contains name if {
	some name, pattern in data.dotted
	glob.match(pattern, [], input.call.upstream)
}

fitting contains name if {
	some name, pattern in data.slashed
	glob.match(pattern, ["/"], input.call.upstream)
}

fitting contains name if {
	some name, pattern in data.dashed
	glob.match(pattern, ["-", "."], input.call.upstream)
}

allow if {
	is_string(input.call.tool)
	glob.match("*", null, input.call.tool)
}

rule_id := concat("-", sort(fitting))

reason := concat(" ", [
	lower(input.subject.id),
	upper(input.subject.id),
	trim(input.subject.id, "ae"),
	trim_space(input.subject.id),
	replace(input.subject.id, "e", "%"),
	substring(input.subject.id, 1, 3),
	concat("|", split(input.subject.id, "a")),
	concat("|", regex.split(`[/:.]+`, input.subject.id)),
	regex.replace(input.subject.id, `([a-z])[0-9]*$`, "<$1>"),
	sprintf("%d:%02d %s", [hour, minute, weekday]),
]) if {
	[hour, minute, _] := time.clock([input.time * 1000000000, "UTC"])
	weekday := time.weekday(input.time * 1000000000)
}

deny contains {"rule_id": "prefix", "reason": "by prefix"} if {
	is_string(input.call.tool)
	strings.any_prefix_match(input.call.tool, data.prefixes)
}

deny contains {"rule_id": "suffix", "reason": "by suffix"} if {
	is_string(input.call.resource)
	strings.any_suffix_match(input.call.resource, data.prefixes)
}

deny contains {"rule_id": "regex", "reason": "by pattern"} if {
	is_string(input.call.resource)
	regex.match(`(?i)^docs:/+[^/]*[.]{2}`, input.call.resource)
}

deny contains {"rule_id": "index", "reason": text} if {
	is_string(input.call.resource)
	at := indexof(input.call.resource, "secret")
	at > 3
	text := sprintf("%d", [at])
}

deny contains {"rule_id": "number", "reason": text} if {
	regex.match(`^[0-9]{1,9}$`, input.call.arguments.value)
	number := to_number(input.call.arguments.value)
	number > 100
	text := sprintf("%v", [number])
}

deny contains {"rule_id": "format", "reason": text} if {
	value := input.call.arguments.context
	not is_null(value)
	text := sprintf("a %v", [type_name(value)])
}
