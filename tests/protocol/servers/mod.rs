//! Servers over HTTP and pipes, and the bad answers that they give.

mod bad_entries_cost_themselves;
mod codings_are_decoded;
mod junk_events_are_passed_over;
mod large_answers_fail_alone;
mod legacy_servers_over_http;
mod modern_servers_over_http;
mod progress_extends_calls;
mod wrong_ids_fail_their_call;
