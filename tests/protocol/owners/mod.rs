//! Sessions, handles and streams are of use to their owners alone, and to these whole.

mod broken_streams_are_taken_up;
pub(crate) mod handles_stay_with_their_owner;
mod sessions_stay_with_their_owner;
mod subscribers_hear_what_they_may;
