//! Calls, and all else that servers and clients offer, in every pair of eras.

mod calls_come_through;
mod every_offer_comes_through;
mod every_pair_of_eras_speaks;
mod legacy_questions_are_asked;
pub(super) mod modern_questions_are_asked;
