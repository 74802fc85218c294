# Stands for your own policy, so that this folder can be tested alone. To use the example, copy machines.rego and
# machines_test.rego into your bundle and the key `machines` into your data.yaml; leave this file here.
package airlock.authz

import rego.v1

default allow := false

allow if count(input.subject.groups) > 0
