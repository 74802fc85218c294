# Hours and weekdays, in UTC, in which a tenant or a group may call at all. Whoever no window names is not limited.
#
# A decision that reads `input.time` is good for its moment only, so none can be kept for the next call like it.
package airlock.authz

import rego.v1

names_caller(window) if window.tenant == input.subject.tenant

names_caller(window) if window.group in input.subject.groups

now := input.time * 1000000000

# `09:05`, which compares as text as it does as a time.
clock := text if {
	[hour, minute, _] := time.clock(now)
	text := sprintf("%02d:%02d", [hour, minute])
}

limited if {
	some window in data.windows
	names_caller(window)
}

# One open window is enough; what lasts over midnight is written as two.
open_now if {
	some window in data.windows
	names_caller(window)
	time.weekday(now) in window.days
	window.from <= clock
	clock < window.to
}

deny contains {
	"rule_id": "outside-hours",
	"reason": "this is outside the hours in which the caller may work here",
} if {
	limited
	not open_now
}
