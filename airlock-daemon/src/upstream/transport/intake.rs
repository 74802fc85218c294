//! Room for a message of a server that is not whole yet: many that come slowly are as much as many that
//! nobody reads.

use crate::limits::budget::level::{Exhausted, What};
use crate::limits::budget::{Account, Charge};

/// Bytes of one message that need no leave: most messages are no longer than that.
const FREE: usize = 64 * 1024;

/// Bytes that one reader holds, charged to the principal for whom the server works. Servers that several
/// share are as many as the configuration has, and charged to nobody.
#[derive(Default)]
pub(super) struct Intake {
    account: Option<Account>,
    charge: Option<Charge>,
}

impl Intake {
    /// Nothing is held yet.
    pub(in crate::upstream) fn new(account: Option<&Account>) -> Self {
        Self { account: account.cloned(), charge: None }
    }

    /// Notes how many bytes are held from now on.
    ///
    /// # Errors
    /// A share is used up. The bytes that were noted before still are.
    pub(in crate::upstream) fn hold(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let Some(account) = &self.account else { return Ok(()) };
        match &mut self.charge {
            _ if bytes <= FREE => self.charge = None,
            Some(charge) if bytes > charge.bytes() => charge.grow(bytes - charge.bytes())?,
            Some(charge) => charge.shrink(bytes),
            None => self.charge = Some(account.charge(What::Incoming, bytes)?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;
    use crate::config::schema::Config;
    use crate::limits::budget::Budget;

    #[test]
    fn what_is_held_is_charged_until_it_is_not() {
        let budget = Budget::new(&Config::default().limits.memory);
        let account = budget.of(Principal::named("alice", None).identity());
        let mut intake = Intake::new(Some(&account));
        for (held, used) in
            [(FREE, 0), (FREE + 1, FREE + 1), (1 << 20, 1 << 20), (FREE + 1, FREE + 1), (1, 0)]
        {
            assert_eq!(intake.hold(held), Ok(()));
            assert_eq!(account.used(), used);
        }
        assert_eq!(intake.hold(1 << 20), Ok(()));
        assert!(intake.hold(usize::MAX / 4).is_err());
        assert_eq!(account.used(), 1 << 20, "what was held before still is");
        drop(intake);
        assert_eq!(account.used(), 0);
        assert_eq!(Intake::default().hold(usize::MAX), Ok(()));
    }
}
