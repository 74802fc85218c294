//! The kinds of records, and the fixed 128-bit id that journald knows each by.

use serde::Serialize;

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $id:literal;)*) => {
        /// The event. Each kind has a name (`event` in the record) and a message id with an entry in the
        /// journal's catalog.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
        pub enum Event {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Event {
            /// Every kind of event.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in the `event` field.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The `MESSAGE_ID` in journald: 32 hexadecimal digits, fixed for ever.
            pub const fn message_id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }
        }
    };
}

events! {
    /// The daemon started and opened the log.
    Start = "start", "67efb79497ab48acb55f74d12648d7ff";
    /// The daemon ends in good order.
    Stop = "stop", "1b3b962511f5459cba9f643c4ce2eb31";
    /// A tool call (or another forwarded call) was let through; recorded before the server gets it.
    CallIntent = "call.intent", "697764b24ce54be8b1f67716fa93cbd9";
    /// A call that was let through has ended.
    CallOutcome = "call.outcome", "1d7b962eafd74c46806e197a13bf0481";
    /// A request was refused, at whatever stage.
    Refusal = "refusal", "f7555283932a430886f21a81e549451b";
    /// A list of tools, prompts or resources was given out.
    List = "list", "152c5c5256fe4e0684aeb0376eb0f749";
    /// Any other request that was answered: initialize, discover, ping, a notification.
    #[default]
    Request = "request", "d3e60531e8ce4138be6990de15efd77b";
    /// A server process was started.
    ServerStart = "server.start", "9ed15fcd1be645eba0b84d039ce62303";
    /// A server process ended.
    ServerExit = "server.exit", "c7979351db1a4217ab86db13ad124a89";
    /// Records are missing here; the record says how many and why.
    Gap = "gap", "5918a0c60de842978e945a988c2fcb08";
    /// The records before this one are an earlier process's, which ended before it had stored them; the
    /// record says how many.
    Recovered = "recovered", "0b6f0f6bd3f24f0c9a4e5d9c5f6a7c1e";
    /// Another policy took the place of the one in force.
    PolicyLoaded = "policy.loaded", "46433dfd48ee46a4a7a3f87cc11137ed";
    /// A policy on disk is not good; the one in force stays.
    PolicyRejected = "policy.rejected", "f3a7545ff2ee4a5ea95720b38c8cbb92";
    /// The policy would have refused this, but is in shadow mode; it was done.
    PolicyShadowed = "policy.shadowed", "f5991351d05c44f79c390585026a9291";
    /// Other packs of detectors took the place of those in force.
    DlpLoaded = "dlp.loaded", "e652ed17a2e14d65a5ab6036e946e9b5";
    /// The packs of detectors on disk are not good; those in force stay.
    DlpRejected = "dlp.rejected", "a4e3c7e089fb4f03acb98086dc4efc88";
    /// Detectors found something in the answer to a list, or in a message that belongs to no call.
    DlpFound = "dlp.found", "5d0f7c1e8a5b4a3f9a6e2c7d41b80f36";
    /// Tools, prompts or templates of a server are locked: it was listed for the first time, or an operator
    /// has approved what it says.
    ToolsLocked = "tools.locked", "5a8605a46e724247acf7e399cab5bd7d";
    /// A tool, a prompt or a template is not what is locked, and is held back.
    ToolHeld = "tool.held", "819936e1a5834818b917d886aefc19dd";
    /// The file of tool locks on disk is not good; the locks in force stay.
    ToolLockRejected = "tool_lock.rejected", "dc4d4a2c0d93423c9b222cb6c228bee1";
    /// The kernel denied something to a pinned server.
    KernelDenied = "kernel.denied", "768bbdf3a67645eba2c4af403be9a802";
    /// An address went on after it was told to wait, and is dropped for a while.
    AddressBlocked = "address.blocked", "36c0fa8bd8da4c4eb9114b8861b746c2";
    /// An address that was dropped is not any more.
    AddressUnblocked = "address.unblocked", "7c18cdbd48d74dfa99e754af741506e1";
    /// An operator, or the file that does so, has stopped everything, or somebody or something.
    CallsStopped = "calls.stopped", "b3d2f1a96c5e4d0f8a7b1c9e2f4d6a08";
    /// A stop was taken back, or its time is over.
    CallsResumed = "calls.resumed", "e1c7a5d3f9b24860a3c8d5e7f1029b4c";
    /// An operator of this host has ordered something, or somebody has tried who may not.
    AdminCommand = "admin.command", "e0b8a5f3c9d24c0f8f0d6a3b7c5e1942";
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_ids_are_unique_and_well_formed() {
        let names: BTreeSet<_> = Event::ALL.iter().map(|event| event.name()).collect();
        let ids: BTreeSet<_> = Event::ALL.iter().map(|event| event.message_id()).collect();
        assert_eq!((names.len(), ids.len()), (Event::ALL.len(), Event::ALL.len()));
        for id in ids {
            assert!(
                id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
                "{id}"
            );
        }
        for event in Event::ALL {
            assert_eq!(serde_json::to_string(event).unwrap(), format!("\"{}\"", event.name()));
        }
    }

    #[test]
    fn the_catalog_explains_every_message_id_and_no_other() {
        let catalog = include_str!("../../../../systemd/airlock.catalog");
        let explained: BTreeSet<_> = catalog.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        let known: BTreeSet<_> = Event::ALL.iter().map(|event| event.message_id()).collect();
        assert_eq!(explained, known);
        assert_eq!(catalog.matches("\nSubject: ").count(), known.len(), "each entry has a subject");
    }
}
