//! Builds the kernel programs.

/// Builds them.
pub fn run(_args: &[String]) -> Result<(), String> {
    Err("the kernel programs are not part of this tree".to_owned())
}
