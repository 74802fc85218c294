# The policy of this door: nobody may do anything, except what a role grants and no rule forbids.
#
#   allow   true where a role of the caller grants the call
#   deny    reasons against it; one is enough, and the first by rule_id is told to the caller
#
# Lists are filtered with these same rules: each entry is asked about as a call with `arguments: null`,
# so a rule about arguments must not fire when there are none.
package airlock.authz

import rego.v1

default allow := false

# ------------------------------------------------------------------ who is calling

# The roles of the caller, by the groups in the token.
roles contains role if {
	some group in input.subject.groups
	role := data.bindings[group]
}

tenant := data.tenants[input.subject.tenant]

# ------------------------------------------------------------------ what is granted

# The protocol's own methods name no target; whoever may use the upstream needs them.
protocol_methods := {
	"initialize",
	"server/discover",
	"ping",
	"tools/list",
	"prompts/list",
	"resources/list",
	"resources/templates/list",
	"logging/setLevel",
}

is_protocol if input.call.method in protocol_methods

is_protocol if startswith(input.call.method, "notifications/")

# The caller's roles that grant this call.
granting contains role if {
	some role in roles
	some grant in data.roles[role].grants
	matches(grant.upstreams, input.call.upstream)
	covers(grant)
}

covers(_) if is_protocol

covers(grant) if {
	input.call.method == "tools/call"
	by_method(grant)
	matches(grant.tools, input.call.tool)
}

# Whoever may get a prompt may have its arguments completed.
covers(grant) if {
	input.call.method in {"prompts/get", "completion/complete"}
	by_method(grant)
	matches(grant.prompts, input.call.prompt)
}

# Whoever may read a resource may hear of its changes, and whoever may read what a template gives may have the template's
# variables completed.
covers(grant) if {
	input.call.method in {"resources/read", "resources/subscribe", "completion/complete"}
	by_method(grant)
	matches(grant.resources, input.call.resource)
}

# What a server asks back in the middle of a call is for whoever may call a tool there.
covers(grant) if {
	input.call.method in {"elicitation/create", "sampling/createMessage"}
	by_method(grant)
	count(grant.tools) > 0
}

# Whoever may call tools may follow the tasks that calls become; a task is its owner's alone, whatever the policy says.
covers(grant) if {
	input.call.method in task_methods
	count(grant.tools) > 0
	calls_tools(grant)
}

task_methods := {"tasks/list", "tasks/get", "tasks/result", "tasks/update", "tasks/cancel"}

calls_tools(grant) if not grant.methods

calls_tools(grant) if matches(grant.methods, "tools/call")

# Methods that this policy knows nothing of are granted by their names.
covers(grant) if {
	not input.call.method in targeted_methods
	matches(grant.methods, input.call.method)
}

targeted_methods := {
	"tools/call",
	"prompts/get",
	"resources/read",
	"resources/subscribe",
	"completion/complete",
	"elicitation/create",
	"sampling/createMessage",
}

by_method(grant) if not grant.methods

by_method(grant) if matches(grant.methods, input.call.method)

allow if count(granting) > 0

# What the audit log and the caller are told about an allowed call.
rule_id := concat(".", ["role", min(granting)])

reason := concat(" ", ["granted to the role", min(granting)])

# ------------------------------------------------------------------ what is forbidden all the same

deny contains {
	"rule_id": "tenant-unknown",
	"reason": "the token names no tenant that is known here",
} if not tenant

deny contains {
	"rule_id": "tenant-upstream",
	"reason": "this tenant may not use this upstream",
} if {
	tenant
	not matches(object.get(tenant, "upstreams", []), input.call.upstream)
}

deny contains {
	"rule_id": "no-role",
	"reason": "none of the caller's groups carries a role",
} if count(roles) == 0

deny contains {
	"rule_id": "read-only",
	"reason": "this tool changes something and the caller may only read",
} if {
	input.call.method == "tools/call"
	is_string(input.call.tool)
	strings.any_prefix_match(input.call.tool, data.write_prefixes)
	count(roles) > 0
	not may_write
}

may_write if {
	some role in roles
	not data.roles[role].read_only
}

deny contains {
	"rule_id": "path-protected",
	"reason": "this folder is not served to anybody",
} if {
	is_string(input.call.arguments.path)
	segments := regex.split(`[/\\]`, lower(input.call.arguments.path))
	some folder in data.protected_folders
	lower(folder) in segments
}

deny contains {
	"rule_id": "path-unclear",
	"reason": "a path must be plain text without `.` and `..` segments",
} if unclear_path(input.call.arguments.path)

unclear_path(path) if not is_string(path)

unclear_path(path) if {
	is_string(path)
	regex.match(`(^|/)\.\.?(/|$)`, path)
}

# A backslash is a separator to some servers, and a NUL or a line end is where others stop reading.
deny contains {
	"rule_id": "path-unclear",
	"reason": "a path must be plain text without `.` and `..` segments",
} if {
	is_string(input.call.arguments.path)
	regex.match(`[\\\x00-\x1f\x7f]`, input.call.arguments.path)
}

deny contains {
	"rule_id": "resource-protected",
	"reason": "this folder is not served to anybody",
} if {
	is_string(input.call.resource)
	segments := regex.split(`[/?#:;]`, lower(plain_uri(input.call.resource)))
	some folder in data.protected_folders
	lower(folder) in segments
}

# What is completed may be a path as well, whatever the argument is called.
deny contains {
	"rule_id": "path-protected",
	"reason": "this folder is not served to anybody",
} if {
	some value in completed
	segments := regex.split(`[/?#:;]`, lower(plain_uri(value)))
	some folder in data.protected_folders
	lower(folder) in segments
}

deny contains {
	"rule_id": "path-unclear",
	"reason": "a path must be plain text without `.` and `..` segments",
} if {
	some value in completed
	unclear_path(value)
}

# An escape of what needs none (letters, digits, `-._~`, a second escape) is there to be read differently by two readers.
deny contains {
	"rule_id": "resource-unclear",
	"reason": "a resource's URI must have no `.` and `..` segments",
} if {
	is_string(input.call.resource)
	regex.match(needless_escape, input.call.resource)
}

deny contains {
	"rule_id": "path-unclear",
	"reason": "a path must be plain text without `.` and `..` segments",
} if {
	some value in completed
	regex.match(needless_escape, value)
}

# What a completion says about values: the one to be completed, and those already chosen.
completed contains value if {
	input.call.method == "completion/complete"
	value := input.call.arguments.value
	is_string(value)
}

completed contains value if {
	input.call.method == "completion/complete"
	some value in input.call.arguments.context.arguments
	is_string(value)
}

needless_escape := `%(2[dDeE]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF]|7[eE]|00|25[0-9a-fA-F][0-9a-fA-F])`

# A server may resolve what a pattern does not: `file:///docs/../secret` is not in `file:///docs/*`.
deny contains {
	"rule_id": "resource-unclear",
	"reason": "a resource's URI must have no `.` and `..` segments",
} if {
	is_string(input.call.resource)
	regex.match(`(^|[/:])\.\.?([/?#]|$)`, plain_uri(input.call.resource))
}

# A URI with the characters that part or make up its segments decoded, as a server may decode them.
plain_uri(uri) := regex.replace(regex.replace(uri, `%2[eE]`, "."), `%2[fF]|%5[cC]|\\`, "/")

# ------------------------------------------------------------------ patterns

# `*` stands for any run of characters; a pattern without it is compared as it is.
matches(patterns, name) if name in patterns

matches(patterns, name) if {
	is_string(name)
	some pattern in patterns
	contains(pattern, "*")
	glob.match(pattern, null, name)
}
