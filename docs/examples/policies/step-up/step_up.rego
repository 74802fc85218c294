# Tools for which a token needs more scopes than the door does. A client whose token lacks one is told which
# (403 with `insufficient_scope`), gets a better token, and asks again.
package airlock.authz

import rego.v1

needed contains scope if {
	input.call.method == "tools/call"
	is_string(input.call.tool)
	some step in data.step_up
	input.call.upstream in step.upstreams
	some pattern in step.tools
	glob.match(pattern, null, input.call.tool)
	some scope in step.scopes
}

obligations := {"scopes": needed} if count(needed) > 0
