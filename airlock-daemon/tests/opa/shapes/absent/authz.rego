# Values that are absent: bound before they are negated, never looked at again, in loops, in functions, in
# comprehensions. All of it runs as bytecode.
package airlock.authz

import rego.v1

default allow := false

allow if {
	path := input.call.arguments.path
	not path == "secret"
	is_string(path)
}

# A name that is never looked at.
allow if {
	value := input.call.arguments.value
	is_number(input.time)
	not input.call.arguments.path
	input.call.method == "completion/complete"
	value != "x"
}

allow if {
	input.call.method == "prompts/get"
	_ := input.call.prompt
	known := data.prompts[input.call.prompt]
	not closed(known)
}

allow if {
	input.call.method == "resources/read"
	not closed(object.get(input.call.arguments, "value", "open"))
}

closed(state) if state == "closed"

rule_id := concat(".", ["by", name]) if {
	name := input.call.tool
	is_string(name)
}

deny contains {"rule_id": "loop", "reason": "a round has nothing"} if {
	some group in input.subject.groups
	state := data.groups[group]
	not closed(state)
}

deny contains {"rule_id": "collected", "reason": "a comprehension has it"} if {
	states := {group | some group in input.subject.groups; state := data.groups[group]; is_string(state)}
	count(states) > 1
}
