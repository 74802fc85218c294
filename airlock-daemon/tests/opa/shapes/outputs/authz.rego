# What a decision is made of: names, reasons, obligations, and what is none.
package airlock.authz

import rego.v1

default allow := false

allow if input.call.method == "tools/call"

allow if input.subject.tenant == "acme"

# Not `true`, so not allowed.
allow := 1 if input.call.upstream == "numbers"

rule_id := input.subject.id

reason := sprintf("%s asks for %v", [input.subject.id, input.subject.groups])

obligations := {"scopes": needed, "redact": {pack | some pack in ["pii", "secrets", "pii"]}, "durable": is_long} if {
	not is_odd
	needed := [scope | some scope in input.subject.scopes; contains(scope, "e")]
}

obligations := {"scopes": 7} if is_odd

is_odd if input.call.upstream == "odd"

default is_long := false

is_long if count(input.call.arguments) > 2

deny contains {"rule_id": "groups", "reason": names} if {
	count(input.subject.groups) > 1
	names := concat(", ", input.subject.groups)
}

deny contains {"rule_id": "groups", "reason": "a second reason"} if "ops" in input.subject.groups

# A field more than the contract knows.
deny contains {"rule_id": id, "reason": "by claim", "claim": id} if id := input.subject.claims[_]

deny contains {"rule_id": "number", "reason": 7} if input.subject.scopes[0] == "numbers"

deny contains "a text" if input.subject.scopes[0] == "texts"
