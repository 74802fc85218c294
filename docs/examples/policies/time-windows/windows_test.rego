package airlock.windows_test

import data.airlock.authz
import rego.v1

call_at(tenant, group, time) := {
	"subject": {"id": "someone", "tenant": tenant, "groups": [group], "scopes": [], "issuer": "https://idp.example.com", "claims": {}},
	"call": {
		"method": "tools/call", "upstream": "docs", "tool": "read_file", "prompt": null, "resource": null, "root": null,
		"arguments": {}, "revision": "2026-07-28",
	},
	"client": {"address": "203.0.113.7", "certificate": null, "uid": null},
	"time": time,
}

closed(question) if "outside-hours" in {entry.rule_id | some entry in denials(question)}

denials(question) := found if found := authz.deny with input as question

# 2026-11-23 is a Monday.
monday := 1795392000

hour := 3600

test_within_hours if {
	every time in [monday + (7 * hour), monday + (12 * hour), (monday + (19 * hour)) - 1] {
		not closed(call_at("acme", "contractors", time))
	}
}

test_outside_hours if {
	every time in [monday, (monday + (7 * hour)) - 1, monday + (19 * hour), monday - (12 * hour)] {
		closed(call_at("acme", "contractors", time))
	}
}

test_who_has_no_window_is_not_limited if not closed(call_at("acme", "staff", monday))

test_a_night_is_two_windows if {
	every time in [monday + (22 * hour), monday + (24 * hour), (monday + (30 * hour)) - 1] {
		not closed(call_at("globex", "staff", time))
	}
	every time in [monday + hour, monday + (30 * hour), monday + (21 * hour)] {
		closed(call_at("globex", "staff", time))
	}
}

test_one_open_window_is_enough if not closed(call_at("globex", "contractors", monday + (12 * hour)))

test_without_a_group_nothing_is_allowed if {
	question := object.union(call_at("acme", "staff", monday), {"subject": {"groups": []}})
	not authz.allow with input as question
}
