# Stands for your own policy, so that this folder can be tested alone. To use the example, copy step_up.rego and
# step_up_test.rego into your bundle and the key `step_up` into your data.yaml; leave this file here.
package airlock.authz

import rego.v1

default allow := false

allow if count(input.subject.groups) > 0
