//! The envelope around an answer. To write one copies all of it: around a long answer it is written apart.

use http::StatusCode;

use crate::mcp::envelope::Id;
use crate::runtime::apart::{LONG, apart};

/// The HTTP status and the message; or the fault of the answer, in words for the operator.
pub(super) type Written = Result<(StatusCode, String), String>;

/// Has an answer written as a message.
///
/// # Errors
/// That of `write`.
pub(super) async fn written(
    id: &Id,
    answer: String,
    write: impl FnOnce(&Id, String) -> Written + Send + 'static,
) -> Written {
    if answer.len() < LONG {
        return write(id, answer);
    }
    let id = id.clone();
    let written = apart(move || write(&id, answer)).await;
    written.unwrap_or_else(|_| Err("its answer could not be written".to_owned()))
}
