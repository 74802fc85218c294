//! Sessions that are abandoned leave nothing behind, and idle ones cost little. `cargo xtask soak` does it at
//! length.

use airlock_tests::soak;

#[test]
fn abandoned_sessions_leave_nothing_behind() {
    println!("{}", soak::abandon(100).expect("nothing stays"));
}

#[test]
fn idle_sessions_cost_little() {
    println!("{}", soak::idle(500).expect("within the limit"));
}

#[test]
fn one_principal_can_have_no_more_kept_than_its_share() {
    println!("{}", soak::kept::answers(24).expect("within the limit"));
    println!("{}", soak::kept::unread(24).expect("within the limit"));
    println!("{}", soak::kept::subscriptions(2).expect("within the limit"));
}
