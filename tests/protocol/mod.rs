//! The protocol: calls, and all else that servers offer, reach clients of either era whole and with one
//! meaning.

mod bad_entries_cost_themselves;
mod batches_are_judged_one_by_one;
mod broken_streams_are_taken_up;
mod calls_come_through;
mod codings_are_decoded;
mod every_offer_comes_through;
mod every_pair_of_eras_speaks;
pub(crate) mod handles_stay_with_their_owner;
mod headers_repeat_arguments;
mod junk_events_are_passed_over;
mod large_answers_fail_alone;
mod legacy_questions_are_asked;
mod legacy_servers_over_http;
mod line_ends_begin_no_message;
mod merged_names_are_safe;
mod merged_servers_are_introduced;
mod messages_have_one_reading;
mod modern_questions_are_asked;
mod modern_servers_over_http;
mod nulls_are_as_if_absent;
mod paths_mean_what_was_meant;
mod progress_extends_calls;
mod sessions_stay_with_their_owner;
mod subscribers_hear_what_they_may;
mod wrong_ids_fail_their_call;
