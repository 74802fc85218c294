//! The audit log: every call and every refusal is on record, and the record is believed.

mod clients_that_go_leave_an_end;
mod disk;
mod disks_that_fail_lose_nothing;
mod every_call_can_be_read_afterwards;
mod every_refusal_keeps_the_contract;
mod journals_that_come_back_have_everything;
mod one_of_everything_is_on_record;
mod played_journal;
mod records_outlive_attacks;
mod the_intent_comes_first;
mod the_journal_names_its_speakers;
