# Builtins that meet wrong types, with nothing that guards them: such a call is refused whatever else holds, as OPA refuses it
# with strict builtin errors. All of it runs as bytecode.
package airlock.authz

import rego.v1

default allow := false

# An error behind `not` is no reason to allow.
allow if {
	path := input.call.arguments.path
	not hidden(path)
}

allow if {
	input.call.method == "tools/call"
	not is_there(input.call.arguments)
}

is_there(arguments) if {
	some name, _ in arguments
	name == "path"
}

hidden(path) if startswith(path, "/secret")

hidden(path) if endswith(path, data.suffix)

rule_id := lower(input.call.arguments.value)

deny contains {"rule_id": "prefix", "reason": "by prefix"} if startswith(input.call.arguments.path, "/secret")

deny contains {"rule_id": "segment", "reason": "by segment"} if "secret" in split(input.call.arguments.path, "/")

deny contains {"rule_id": "long", "reason": "by length"} if count(input.call.arguments.context) > 2

deny contains {"rule_id": "pattern", "reason": "by pattern"} if regex.match(`^s.*t$`, input.call.arguments.value)

deny contains {"rule_id": "absent", "reason": "behind not"} if {
	input.call.method == "prompts/get"
	some name, value in input.call.arguments
	name == "value"
	not contains(value, "e")
}

deny contains {"rule_id": "each", "reason": "in a loop"} if {
	some part in input.call.arguments.arguments
	upper(part) == "SECRET"
}

deny contains {"rule_id": "collected", "reason": "in a comprehension"} if {
	parts := {trim_space(part) | some part in input.call.arguments.context}
	"secret" in parts
}

deny contains {"rule_id": "guarded", "reason": "after a guard"} if {
	input.call.method == "resources/read"
	startswith(input.call.resource, "docs://secret")
}

deny contains {"rule_id": "helper", "reason": "in a helper"} if is_odd

is_odd if object.get(input.call.arguments.context, "path", "") == "odd"

deny contains {"rule_id": "glob", "reason": "by glob"} if {
	input.call.method == "tools/call"
	glob.match("s*t", [], input.call.arguments.value)
}
