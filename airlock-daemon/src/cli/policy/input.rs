//! `airlock policy input`.

use std::io::{self, Write};

use crate::policy::{InputForm, describe_input};

/// Arguments of `airlock policy input`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the example without comments, as `airlock policy explain --input` takes it.
    #[arg(long, conflicts_with = "schema")]
    json: bool,
    /// Print the JSON schema of the document (draft 2020-12), for editors and for `opa check --schema`.
    #[arg(long)]
    schema: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> io::Result<u8> {
    let form = match (args.json, args.schema) {
        (true, _) => InputForm::Json,
        (false, true) => InputForm::Schema,
        (false, false) => InputForm::Commented,
    };
    write!(out, "{}", describe_input(form))?;
    Ok(0)
}
