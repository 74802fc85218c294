//! Redaction: what must not pass does not, in either direction, and everything else passes as it came.

mod answers_are_looked_through;
mod arguments_are_looked_through;
mod detectors_can_be_tried;
mod findings_are_on_record;
mod nothing_goes_by_beside_calls;
mod obligations_reach_all_words;
mod packs_change_between_calls;
mod servers_over_http_too;
mod streams_over_http_too;
mod what_is_no_text_goes_nowhere;
