# Upstreams that only known machines may use: by the subject of their verified client certificate, or, on airlock's unix
# socket, by the user id of the process at the other end. A good token alone is not enough there.
package airlock.authz

import rego.v1

guarded if {
	some guard in data.machines
	input.call.upstream in guard.upstreams
}

known_machine if {
	some guard in data.machines
	input.call.upstream in guard.upstreams
	input.client.certificate in guard.certificates
}

known_machine if {
	some guard in data.machines
	input.call.upstream in guard.upstreams
	input.client.uid in guard.uids
}

deny contains {
	"rule_id": "machine-unknown",
	"reason": "this upstream is for certain machines only, and this is none of them",
} if {
	guarded
	not known_machine
}
