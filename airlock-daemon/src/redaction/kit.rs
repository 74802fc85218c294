//! Detectors that run together, and the actions on what they find: by direction, server and tool.

use std::sync::Arc;

use airlock_dlp::{Action, Detector, Detectors};
use quick_cache::sync::Cache;

use super::purpose::{Purpose, is_of};
use crate::config::packs::Known;
use crate::config::pattern::Pattern;
use crate::config::schema::{Dlp, DlpDirection as Direction, DlpMode};

/// Most places whose actions are kept: clients name tools as they like.
const PLACES: usize = 1024;

/// Detectors, with everything that says what they do.
pub(super) struct Kit {
    pub(super) scanner: Detectors,
    /// By place of the detector.
    pub(super) names: Vec<Arc<str>>,
    /// Where no rule fits, by direction and by place of the detector.
    plain: [Arc<[Action]>; 2],
    rules: Vec<Rule>,
    places: Cache<String, [Arc<[Action]>; 2]>,
    is_report: bool,
}

struct Rule {
    direction: Option<Direction>,
    place: Pattern,
    /// True for a rule about tools: it fits nothing else.
    names_tool: bool,
    /// By place of the detector.
    concerns: Vec<bool>,
    action: Action,
}

impl Kit {
    pub(super) fn new(dlp: &Dlp, known: Vec<Known>) -> Self {
        let plain = [Direction::Request, Direction::Response].map(|way| {
            let default = if way == Direction::Request { dlp.request } else { dlp.response };
            let action = |known: &Known| match known.single.and_then(|place| dlp.detectors.get(place)) {
                _ if !known.is_on => Action::Off,
                Some(single) if single.direction.is_some_and(|only| only != way) => Action::Off,
                Some(single) => single.action.unwrap_or(default).action(),
                None => default.action(),
            };
            known.iter().map(action).collect()
        });
        let rules = dlp.rules.iter().filter_map(|rule| {
            let any = |text: &Option<String>| text.clone().unwrap_or_else(|| "*".to_owned());
            let concerned = |known: &Known| {
                let (name, pack) = (known.detector.name(), &known.detector.spec().pack);
                known.is_on
                    && rule.detector.as_deref().is_none_or(|detector| detector == name)
                    && rule.pack.as_deref().is_none_or(|of| of == pack)
            };
            Some(Rule {
                direction: rule.direction,
                place: Pattern::parse(&format!("{}/{}", any(&rule.upstream), any(&rule.tool)))?,
                names_tool: rule.tool.is_some(),
                concerns: known.iter().map(concerned).collect(),
                action: rule.action.action(),
            })
        });
        let rules = rules.collect();
        let names = known.iter().map(|known| known.detector.name().into()).collect();
        let scanner = Detectors::new(known.into_iter().map(|known| known.detector).collect());
        let is_report = dlp.mode == DlpMode::Report;
        Self { scanner, names, plain, rules, places: Cache::new(PLACES), is_report }
    }

    pub(super) fn detectors(&self) -> &[Detector] {
        self.scanner.all()
    }

    /// The actions in one direction, by place of the detector; none where none does anything.
    pub(super) fn actions(&self, direction: Direction, purpose: Purpose<'_>) -> Option<Arc<[Action]>> {
        let mut actions = if self.rules.is_empty() {
            Arc::clone(&self.plain[direction as usize])
        } else {
            let place = format!("{}/{}", purpose.upstream, purpose.tool.unwrap_or_default());
            let found = self.places.get(&place).unwrap_or_else(|| {
                let made = [Direction::Request, Direction::Response].map(|way| self.ruled(way, purpose));
                self.places.insert(place, made.clone());
                made
            });
            Arc::clone(&found[direction as usize])
        };
        if !purpose.obliged.is_empty() {
            let stricter = |(detector, action): (&Detector, &Action)| {
                let is_obliged = purpose.obliged.iter().any(|name| is_of(detector, name));
                if is_obliged { (*action).max(Action::Redact) } else { *action }
            };
            actions = self.detectors().iter().zip(actions.iter()).map(stricter).collect();
        }
        if self.is_report {
            actions = actions.iter().map(|action| (*action).min(Action::Report)).collect();
        }
        actions.iter().any(|action| *action != Action::Off).then_some(actions)
    }

    /// The actions on words in logs, by place of the detector: the stricter of the two directions where no
    /// rule fits. A log cannot be refused, so what blocks messages is replaced there.
    pub(super) fn spoken(&self) -> Option<Arc<[Action]>> {
        let [request, response] = [Direction::Request, Direction::Response]
            .map(|way| self.actions(way, Purpose { upstream: "", tool: None, obliged: &[] }));
        let none = || self.names.iter().map(|_| Action::Off).collect();
        if request.is_none() && response.is_none() {
            return None;
        }
        let (request, response): (Arc<[Action]>, Arc<[Action]>) =
            (request.unwrap_or_else(none), response.unwrap_or_else(none));
        let stricter = |(one, other): (&Action, &Action)| (*one).max(*other).min(Action::Redact);
        Some(request.iter().zip(response.iter()).map(stricter).collect())
    }

    fn ruled(&self, direction: Direction, purpose: Purpose<'_>) -> Arc<[Action]> {
        let fits = |rule: &&Rule| {
            rule.direction.is_none_or(|only| only == direction)
                && (purpose.tool.is_some() || !rule.names_tool)
                && rule.place.matches(purpose.upstream, purpose.tool.unwrap_or_default())
        };
        let rules: Vec<&Rule> = self.rules.iter().filter(fits).collect();
        let action = |(place, plain): (usize, &Action)| {
            let rule = rules.iter().find(|rule| rule.concerns.get(place) == Some(&true));
            rule.map_or(*plain, |rule| rule.action)
        };
        self.plain[direction as usize].iter().enumerate().map(action).collect()
    }
}
