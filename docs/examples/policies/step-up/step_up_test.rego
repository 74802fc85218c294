package airlock.step_up_test

import data.airlock.authz
import rego.v1

call(method, upstream, tool) := {
	"subject": {"id": "someone", "tenant": "acme", "groups": ["staff"], "scopes": [], "issuer": "https://idp.example.com", "claims": {}},
	"call": {
		"method": method, "upstream": upstream, "tool": tool, "prompt": null, "resource": null, "root": null,
		"arguments": {}, "revision": "2026-07-28",
	},
	"client": {"address": "203.0.113.7", "certificate": null, "uid": null},
	"time": 1795347000,
}

test_reading_needs_nothing_more if {
	authz.allow with input as call("tools/call", "docs", "read_file")
	not authz.obligations with input as call("tools/call", "docs", "read_file")
}

test_writing_needs_its_scope if {
	authz.obligations == {"scopes": {"docs.write"}} with input as call("tools/call", "docs", "write_file")
}

test_steps_add_up if {
	authz.obligations == {"scopes": {"docs.write", "delete"}} with input as call("tools/call", "docs", "delete_file")
	authz.obligations == {"scopes": {"delete"}} with input as call("tools/call", "billing", "delete_invoice")
}

test_only_calls_of_tools_need_them if {
	not authz.obligations with input as call("tools/list", "docs", null)
}

test_elsewhere_nothing_is_needed if {
	not authz.obligations with input as call("tools/call", "notes", "delete_note")
}

test_without_a_group_nothing_is_allowed if {
	not authz.allow with input as object.union(call("ping", "docs", null), {"subject": {"groups": []}})
}
