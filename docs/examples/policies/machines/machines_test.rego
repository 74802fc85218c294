package airlock.machines_test

import data.airlock.authz
import rego.v1

call_from(upstream, certificate, uid) := {
	"subject": {"id": "robot", "tenant": "acme", "groups": ["robots"], "scopes": [], "issuer": "https://idp.example.com", "claims": {}},
	"call": {
		"method": "tools/call", "upstream": upstream, "tool": "roll_out", "prompt": null, "resource": null, "root": null,
		"arguments": {}, "revision": "2026-07-28",
	},
	"client": {"address": null, "certificate": certificate, "uid": uid},
	"time": 1795347000,
}

refused(question) if "machine-unknown" in {entry.rule_id | some entry in denials(question)}

denials(question) := found if found := authz.deny with input as question

test_a_known_certificate_opens if not refused(call_from("deploy", "CN=ci-runner,O=acme", null))

test_a_known_user_opens if {
	not refused(call_from("deploy", null, 1001))
	not refused(call_from("backup", null, 1001))
}

test_others_stay_outside if {
	every question in [
		call_from("deploy", null, null),
		call_from("deploy", "CN=laptop,O=acme", 0),
		call_from("deploy", "CN=ci-runner,O=acme,OU=x", null),
		call_from("backup", "CN=ci-runner,O=acme", 1000),
	] {
		refused(question)
	}
}

test_other_upstreams_are_open_to_all if not refused(call_from("docs", null, null))

test_without_a_group_nothing_is_allowed if {
	not authz.allow with input as object.union(call_from("docs", null, null), {"subject": {"groups": []}})
}
