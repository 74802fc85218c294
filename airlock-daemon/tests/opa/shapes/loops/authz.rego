# Loops, functions, `else`, `every`, `not`, undefined values.
package airlock.authz

import rego.v1

default allow := false

allow if {
	every group in input.subject.groups {
		level(group) > 0
	}
	count(levels) > 0
}

allow if some_scope

some_scope if {
	some index, scope in input.subject.scopes
	data.scopes[scope][index]
}

level(group) := 3 if {
	group == "admins"
} else := value if {
	value := data.levels[group]
} else := 0

levels contains value if {
	some group in input.subject.groups
	value := level(group)
}

by_group[group] := tool if {
	some group in input.subject.groups
	tool := data.tools[group]
}

rule_id := sprintf("level-%d", [max(levels)])

deny contains {"rule_id": "tool", "reason": tool} if {
	some tool in by_group
	tool == input.call.tool
}

deny contains {"rule_id": "unknown", "reason": group} if {
	some group in input.subject.groups
	not data.levels[group]
	not data.tools[group]
}

deny contains {"rule_id": "nested", "reason": "an argument says no"} if {
	some outer
	is_object(input.call.arguments)
	inner := input.call.arguments[outer]
	is_array(inner)
	inner[_] == false
	not startswith(outer, "a")
}

deny contains {"rule_id": "empty", "reason": "an empty text"} if {
	is_object(input.call.arguments)
	input.call.arguments[_] == ""
}

deny contains {"rule_id": "keys", "reason": text} if {
	is_object(input.call.arguments)
	keys := {key | some key, value in input.call.arguments; is_string(value)}
	count(keys & {"path", "value"}) == 2
	text := concat(",", sort(keys))
}
