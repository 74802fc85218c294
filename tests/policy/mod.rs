//! The policy: it decides, it is told apart from its mistakes, and nobody passes it by.

mod authors_see_what_decides;
mod changed_lists_are_looked_at;
mod first_locks_are_whole;
mod locked_house;
mod mistakes_have_a_place;
mod prompts_and_templates_are_locked;
mod refusals_name_their_rule;
mod reloads_fall_between_calls;
mod rules_are_not_passed_by;
mod shadow_mode_only_speaks;
mod slips_are_refused_at_load;
mod tenants_share_nothing;
mod tools_stay_what_they_were;
