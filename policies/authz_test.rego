package airlock.authz_test

import data.airlock.authz
import rego.v1

# ------------------------------------------------------------------ helpers

subject(tenant, groups) := {
	"id": "someone",
	"tenant": tenant,
	"groups": groups,
	"scopes": [],
	"issuer": "https://idp.example.com",
	"claims": {},
}

request(who, method, upstream, tool, arguments) := {
	"subject": who,
	"call": {
		"method": method,
		"upstream": upstream,
		"tool": tool,
		"prompt": null,
		"resource": null,
		"root": null,
		"arguments": arguments,
		"revision": "2026-07-28",
	},
	"client": {"address": "203.0.113.7", "certificate": null, "uid": null},
	"time": 1795347000,
}

alice := subject("acme", ["mcp.users"])

admin := subject("acme", ["mcp.admins"])

mallory := subject("acme", [])

tool_call(who, tool, arguments) := request(who, "tools/call", "docs", tool, arguments)

prompt_get(who, prompt) := object.union(
	request(who, "prompts/get", "docs", null, {}),
	{"call": {"prompt": prompt}},
)

resource_read(who, uri) := object.union(
	request(who, "resources/read", "docs", null, {}),
	{"call": {"resource": uri}},
)

completion(who, target) := object.union(
	request(who, "completion/complete", "docs", null, {"name": "topic", "value": "r"}),
	{"call": target},
)

rule_ids(list) := {entry.rule_id | some entry in list}

# ------------------------------------------------------------------ what a reader may do

test_reader_searches if {
	authz.allow with input as tool_call(alice, "search_docs", {"query": "x"})
	count(authz.deny) == 0 with input as tool_call(alice, "search_docs", {"query": "x"})
}

test_reader_reads if {
	authz.allow with input as tool_call(alice, "read_file", {"path": "guide.md"})
	count(authz.deny) == 0 with input as tool_call(alice, "read_file", {"path": "guide.md"})
}

test_pattern_grants_list_tools if authz.allow with input as tool_call(alice, "list_pages", {})

test_the_role_is_named if {
	authz.rule_id == "role.reader" with input as tool_call(alice, "read_file", {})
	authz.reason == "granted to the role reader" with input as tool_call(alice, "read_file", {})
}

test_reader_may_not_phone_home if not authz.allow with input as tool_call(alice, "phone_home", {})

test_reader_stays_on_docs if {
	not authz.allow with input as request(alice, "tools/call", "billing", "read_file", {})
}

test_a_tool_name_is_not_a_prefix if not authz.allow with input as tool_call(alice, "read_file2", {})

test_no_tool_is_no_grant if not authz.allow with input as tool_call(alice, null, {})

test_reader_follows_tasks if {
	every method in ["tasks/list", "tasks/get", "tasks/result", "tasks/update", "tasks/cancel"] {
		authz.allow with input as request(alice, method, "docs", null, {})
		count(authz.deny) == 0 with input as request(alice, method, "docs", null, {})
		not authz.allow with input as request(alice, method, "billing", null, {})
		not authz.allow with input as request(mallory, method, "docs", null, {})
	}
}

test_tasks_come_with_tools if {
	every grant in [
		{"upstreams": ["docs"], "prompts": ["*"], "resources": ["*"]},
		{"upstreams": ["docs"], "tools": [], "prompts": ["*"]},
		{"upstreams": ["docs"], "tools": ["*"], "methods": ["prompts/get"]},
	] {
		role := {"reader": {"read_only": true, "grants": [grant]}}
		not authz.allow with input as request(alice, "tasks/get", "docs", null, {}) with data.roles as role
	}
	narrow := {"reader": {"read_only": true, "grants": [{
		"upstreams": ["docs"],
		"tools": ["*"],
		"methods": ["tools/call"],
	}]}}
	authz.allow with input as request(alice, "tasks/get", "docs", null, {}) with data.roles as narrow
}

test_reader_has_no_other_methods if {
	not authz.allow with input as request(alice, "tasks/destroy", "docs", null, null)
	not authz.allow with input as request(alice, "resources/subscribe", "docs", null, null)
}

test_no_target_is_no_grant if {
	every method in ["prompts/get", "resources/read", "completion/complete"] {
		not authz.allow with input as request(alice, method, "docs", null, {})
		not authz.allow with input as request(admin, method, "docs", null, {})
	}
}

# ------------------------------------------------------------------ prompts and resources

test_reader_gets_prompts_of_docs if {
	authz.allow with input as prompt_get(alice, "summarise")
	count(authz.deny) == 0 with input as prompt_get(alice, "summarise")
	authz.allow with input as completion(alice, {"prompt": "summarise"})
	elsewhere := object.union(prompt_get(alice, "summarise"), {"call": {"upstream": "billing"}})
	not authz.allow with input as elsewhere
}

test_reader_reads_what_the_scheme_grants if {
	authz.allow with input as resource_read(alice, "docs://guide/roll-back")
	authz.allow with input as completion(alice, {"resource": "docs://guide/{topic}"})
	not authz.allow with input as resource_read(alice, "file:///etc/passwd")
	not authz.allow with input as completion(alice, {"resource": "file:///{path}"})
}

test_an_absent_list_grants_nothing if {
	bare := {"reader": {"read_only": true, "grants": [{"upstreams": ["docs"], "tools": ["*"]}]}}
	authz.allow with input as tool_call(alice, "search_docs", {}) with data.roles as bare
	not authz.allow with input as prompt_get(alice, "summarise") with data.roles as bare
	not authz.allow with input as resource_read(alice, "docs://guide") with data.roles as bare
}

test_methods_narrow_a_grant if {
	narrow := {"reader": {"read_only": true, "grants": [{
		"upstreams": ["docs"],
		"methods": ["resources/read"],
		"prompts": ["*"],
		"resources": ["*"],
	}]}}
	authz.allow with input as resource_read(alice, "docs://guide") with data.roles as narrow
	not authz.allow with input as prompt_get(alice, "summarise") with data.roles as narrow
	not authz.allow with input as completion(alice, {"resource": "docs://guide"}) with data.roles as narrow
}

test_operator_reads_everything if {
	authz.allow with input as prompt_get(admin, "anything")
	authz.allow with input as resource_read(admin, "file:///srv/notes")
	count(authz.deny) == 0 with input as resource_read(admin, "file:///srv/notes?v=1")
	authz.allow with input as completion(admin, {"resource": "file:///{path}"})
}

test_unclear_resource if {
	every uri in [
		"docs://a/../b", "docs://a/./b", "docs://a/..", "docs:../b", "docs://a/%2e%2E/b", "docs://a/.%2e?x",
		"docs://a%2f..%2fb", "docs://a\\..\\b", "docs://a/%2e%2e%5Cb",
	] {
		rule_ids(authz.deny) == {"resource-unclear"} with input as resource_read(alice, uri)
	}
	every uri in ["docs://a/..b", "docs://a/b..", "docs://a.b/c.", "docs://a/{+path}", "docs://a/{.ext}", "docs://...", null] {
		count(authz.deny) == 0 with input as resource_read(alice, uri)
	}
}

test_protected_resource if {
	every uri in ["docs://a/secret/b", "docs://secret", "docs://a/%2Fsecret%2fb", "docs://a/.git/config"] {
		rule_ids(authz.deny) == {"resource-protected"} with input as resource_read(admin, uri)
	}
	count(authz.deny) == 0 with input as resource_read(admin, "docs://a/secretary")
}

test_who_may_read_may_hear_of_changes if {
	heard := {"call": {"method": "resources/subscribe"}}
	authz.allow with input as object.union(resource_read(alice, "docs://guide"), heard)
	not authz.allow with input as object.union(resource_read(alice, "file:///etc/passwd"), heard)
	not authz.allow with input as request(alice, "resources/subscribe", "docs", null, {})
	secret := object.union(resource_read(admin, "docs://a/secret/b"), heard)
	rule_ids(authz.deny) == {"resource-protected"} with input as secret
}

# ------------------------------------------------------------------ what a server asks back

test_who_may_call_may_be_asked if {
	every method in ["elicitation/create", "sampling/createMessage"] {
		authz.allow with input as request(alice, method, "docs", null, {"message": "your name?"})
		authz.allow with input as request(admin, method, "billing", null, {"message": "your name?"})
		not authz.allow with input as request(alice, method, "billing", null, {"message": "your name?"})
		not authz.allow with input as request(mallory, method, "docs", null, {"message": "your name?"})
	}
}

test_who_may_not_call_is_not_asked if {
	mute := {"reader": {"read_only": true, "grants": [{"upstreams": ["docs"], "prompts": ["*"]}]}}
	not authz.allow with input as request(alice, "elicitation/create", "docs", null, {}) with data.roles as mute
	narrow := {"reader": {"read_only": true, "grants": [{
		"upstreams": ["docs"],
		"methods": ["tools/call"],
		"tools": ["*"],
	}]}}
	not authz.allow with input as request(alice, "elicitation/create", "docs", null, {}) with data.roles as narrow
}

# ------------------------------------------------------------------ what an operator may do

test_operator_calls_everything if {
	authz.allow with input as tool_call(admin, "phone_home", {})
	authz.allow with input as request(admin, "tools/call", "billing", "delete_invoice", {})
	count(authz.deny) == 0 with input as request(admin, "tools/call", "billing", "delete_invoice", {})
	authz.allow with input as request(admin, "tasks/get", "docs", null, null)
}

test_first_role_by_name_is_told if {
	both := subject("acme", ["mcp.users", "mcp.admins"])
	authz.rule_id == "role.operator" with input as tool_call(both, "read_file", {})
}

# ------------------------------------------------------------------ the protocol's own methods

test_protocol_methods if {
	every method in ["initialize", "server/discover", "ping", "tools/list", "notifications/initialized", "logging/setLevel"] {
		authz.allow with input as request(alice, method, "docs", null, null)
	}
}

test_protocol_methods_need_the_upstream if {
	not authz.allow with input as request(alice, "tools/list", "billing", null, null)
	not authz.allow with input as request(mallory, "ping", "docs", null, null)
}

test_unknown_method_is_refused if {
	not authz.allow with input as request(alice, "tools/destroy", "docs", null, null)
}

# ------------------------------------------------------------------ what is forbidden

test_without_groups if {
	not authz.allow with input as tool_call(mallory, "search_docs", {})
	rule_ids(authz.deny) == {"no-role"} with input as tool_call(mallory, "search_docs", {})
}

test_unknown_group_gives_nothing if {
	rule_ids(authz.deny) == {"no-role"} with input as tool_call(subject("acme", ["staff"]), "search_docs", {})
}

test_unknown_tenant if {
	rule_ids(authz.deny) == {"tenant-unknown"} with input as tool_call(subject("evil", ["mcp.admins"]), "search_docs", {})
}

test_no_tenant if {
	rule_ids(authz.deny) == {"tenant-unknown"} with input as tool_call(subject(null, ["mcp.users"]), "search_docs", {})
}

test_tenant_without_the_upstream if {
	globex := subject("globex", ["mcp.admins"])
	rule_ids(authz.deny) == {"tenant-upstream"} with input as request(globex, "tools/call", "billing", "list_invoices", {})
	count(authz.deny) == 0 with input as request(globex, "tools/call", "docs", "search_docs", {})
}

test_read_only_cannot_write if {
	rule_ids(authz.deny) == {"read-only"} with input as tool_call(alice, "write_file", {})
	count(authz.deny) == 0 with input as tool_call(subject("acme", ["mcp.users", "mcp.admins"]), "write_file", {})
}

test_protected_folder if {
	every path in ["/secret/key", "secret/key", "//secret", "/secret", "docs/.git/config", "/SECRET/key", "\\secret\\key"] {
		"path-protected" in rule_ids(authz.deny) with input as tool_call(alice, "read_file", {"path": path})
	}
	count(authz.deny) == 0 with input as tool_call(alice, "read_file", {"path": "/secretary.md"})
}

test_unclear_path if {
	every path in ["../secret", "a/./b", "a/..", "/secret\u0000", "a\nb", "a\\..\\b", 7, null, ["/secret"], {"a": "/secret"}] {
		"path-unclear" in rule_ids(authz.deny) with input as tool_call(admin, "read_file", {"path": path})
	}
}

test_lists_ask_without_arguments if {
	authz.allow with input as tool_call(alice, "read_file", null)
	count(authz.deny) == 0 with input as tool_call(alice, "read_file", null)
}

# ------------------------------------------------------------------ one folder, many spellings

test_protected_folder_by_another_spelling_is_refused if {
	every uri in [
		"docs://%73ecret/keys", "docs://secret?x", "docs://secret#f", "docs:secret/x", "docs://secret;v=1",
		"docs://a/%2573ecret", "docs://a/%252e%252e/x",
	] {
		not allowed(resource_read(alice, uri))
	}
	allowed(resource_read(alice, "docs://guide/100%25-sure?page=2"))
	allowed(resource_read(alice, "docs://guide/caf%C3%A9%20au%20lait"))
}

test_completion_does_not_look_into_a_protected_folder if {
	every value in ["secret/", "a/secret", "../x", "%73ecret/"] {
		not allowed(object.union(
			completion(alice, {"resource": "docs://guide/{topic}"}),
			{"call": {"arguments": {"name": "path", "value": value}}},
		))
		not allowed(object.union(
			completion(alice, {"resource": "docs://guide/{topic}"}),
			{"call": {"arguments": {"name": "path", "value": "a", "context": {"arguments": {"dir": value}}}}},
		))
	}
	allowed(completion(alice, {"resource": "docs://guide/{topic}"}))
}

allowed(question) if {
	authz.allow with input as question
	count(authz.deny) == 0 with input as question
}
