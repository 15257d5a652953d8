//! What the live view knows and what keys do to it; knows no terminal and no daemon.

use super::style::{MARKS, Palette};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use hither_api::{GivingInfo, Phase, TransferInfo, TransferView};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be done after a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing but to draw again.
    Draw,
    /// The end.
    Quit,
    /// The end, as by an interrupt.
    Interrupt,
    /// Another transfer is looked at.
    Choose,
    /// Stop this transfer for now.
    Pause(String),
    /// Let this transfer go on.
    Resume(String),
}

/// Everything that is drawn.
#[derive(Debug)]
pub struct LiveState {
    /// How to draw.
    pub palette: Palette,
    /// Those that are shown: what runs, what ran since the view was opened, or what the user
    /// named.
    pub transfers: Vec<TransferInfo>,
    /// The fetches of others from here, those that do now first.
    pub givings: Vec<GivingInfo>,
    /// Whether the list was heard yet.
    pub heard: bool,
    /// The last view of each of them that was looked at.
    views: BTreeMap<String, TransferView>,
    /// The sources of each, in the order in which they were first seen: so they keep their
    /// colours.
    seen: BTreeMap<String, Vec<String>>,
    chosen: Option<String>,
    /// Only this one is shown.
    only: Option<String>,
    /// What did not end yet when it was seen.
    running: BTreeSet<String>,
    /// Whether the keys are explained.
    pub help: bool,
    /// What came of the last key.
    pub message: Option<String>,
}

impl LiveState {
    /// Nothing is known. `only`: the id of the one transfer that is shown.
    pub const fn new(palette: Palette, only: Option<String>) -> Self {
        Self {
            palette,
            transfers: Vec::new(),
            givings: Vec::new(),
            heard: false,
            views: BTreeMap::new(),
            seen: BTreeMap::new(),
            chosen: None,
            only,
            running: BTreeSet::new(),
            help: false,
            message: None,
        }
    }

    /// The id of the transfer that is looked at.
    pub fn chosen(&self) -> Option<&str> {
        self.chosen.as_deref()
    }

    /// The place of the same in the list.
    pub fn place(&self) -> Option<usize> {
        self.transfers
            .iter()
            .position(|transfer| Some(&transfer.transfer) == self.chosen.as_ref())
    }

    /// The transfer that is looked at, as it was heard of last.
    pub fn transfer(&self) -> Option<&TransferInfo> {
        self.place().and_then(|place| self.transfers.get(place))
    }

    /// Its view, when there is one.
    pub fn view(&self) -> Option<&TransferView> {
        self.views.get(self.chosen.as_ref()?)
    }

    /// The mark of a device in the transfer that is looked at.
    pub fn mark(&self, device: &str) -> usize {
        let seen = self
            .chosen
            .as_ref()
            .and_then(|chosen| self.seen.get(chosen));
        let place = seen.and_then(|seen| seen.iter().position(|known| known == device));
        place.unwrap_or(MARKS)
    }

    /// All transfers as they are now. Gives whether another one is looked at.
    pub fn list(&mut self, mut all: Vec<TransferInfo>) -> bool {
        self.heard = true;
        all.sort_by_key(|transfer| (rank(transfer.phase), std::cmp::Reverse(transfer.started)));
        let open = all.iter().filter(|transfer| !is_over(transfer.phase));
        self.running
            .extend(open.map(|transfer| transfer.transfer.clone()));
        let shown = |transfer: &TransferInfo| match &self.only {
            Some(only) => transfer.transfer == *only,
            None => self.running.contains(&transfer.transfer),
        };
        let latest = all.iter().max_by_key(|transfer| transfer.started).cloned();
        all.retain(shown);
        // Nothing runs: the latest is worth a look.
        if all.is_empty() && self.only.is_none() {
            all.extend(latest);
        }
        self.transfers = all;
        let ids: BTreeSet<&String> = self
            .transfers
            .iter()
            .map(|transfer| &transfer.transfer)
            .collect();
        self.views.retain(|id, _| ids.contains(id));
        self.seen.retain(|id, _| ids.contains(id));
        if self.place().is_some() {
            return false;
        }
        let before = self.chosen.take();
        self.chosen = self
            .transfers
            .first()
            .map(|transfer| transfer.transfer.clone());
        self.chosen != before
    }

    /// Takes the givings as they are now: with what is fetched here, only those that are there, beside
    /// the one transfer that the user named nobody.
    pub fn give(&mut self, mut all: Vec<GivingInfo>) {
        let busy = self.transfers.iter().any(|one| !is_over(one.phase));
        let active = |one: &GivingInfo| one.open && !one.complete;
        let any_active = all.iter().any(active);
        all.retain(|one| self.only.is_none() && (active(one) || !(busy || any_active)));
        self.givings = all;
    }

    /// A transfer was seen more closely.
    pub fn look(&mut self, view: TransferView) {
        let id = view.transfer.transfer.clone();
        let seen = self.seen.entry(id.clone()).or_default();
        for source in view
            .sources
            .iter()
            .filter(|source| source.bytes > 0 || source.in_flight > 0)
        {
            if seen.len() < MARKS && !seen.contains(&source.device) {
                seen.push(source.device.clone());
            }
        }
        if let Some(known) = self
            .transfers
            .iter_mut()
            .find(|transfer| transfer.transfer == id)
        {
            known.clone_from(&view.transfer);
            self.views.insert(id, view);
        }
    }

    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::Draw;
        }
        self.message = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') {
                Action::Interrupt
            } else {
                Action::Draw
            };
        }
        if std::mem::take(&mut self.help) && key.code != KeyCode::Char('q') {
            return Action::Draw;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => Action::Quit,
            KeyCode::Char('?' | 'h') => {
                self.help = true;
                Action::Draw
            }
            KeyCode::Down | KeyCode::Right | KeyCode::Tab | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Left | KeyCode::BackTab | KeyCode::Char('k') => self.step(-1),
            KeyCode::Char('p') => self.act(Action::Pause, |phase| {
                !is_over(phase) && phase != Phase::Paused
            }),
            KeyCode::Char('r') => self.act(Action::Resume, |phase| {
                matches!(phase, Phase::Paused | Phase::Failed)
            }),
            _ => Action::Draw,
        }
    }

    fn step(&mut self, by: isize) -> Action {
        let Some(place) = self.place() else {
            return Action::Draw;
        };
        let next = (place as isize + by).rem_euclid(self.transfers.len() as isize) as usize;
        self.chosen = self
            .transfers
            .get(next)
            .map(|transfer| transfer.transfer.clone());
        if next == place {
            Action::Draw
        } else {
            Action::Choose
        }
    }

    fn act(&mut self, action: fn(String) -> Action, may: fn(Phase) -> bool) -> Action {
        match self
            .transfer()
            .map(|transfer| (transfer.phase, transfer.transfer.clone()))
        {
            Some((phase, id)) if may(phase) => action(id),
            Some((phase, _)) => {
                self.message = Some(format!(
                    "It is {} already.",
                    crate::show::phase_words(phase)
                ));
                Action::Draw
            }
            None => Action::Draw,
        }
    }
}

/// Whether nothing more comes of it by itself.
pub const fn is_over(phase: Phase) -> bool {
    matches!(phase, Phase::Done | Phase::Failed)
}

/// What runs comes first, what is over last.
const fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Done | Phase::Failed => 2,
        Phase::Paused | Phase::Following => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{transfer, view};
    use super::*;

    fn state() -> LiveState {
        LiveState::new(Palette::new(false), None)
    }

    fn press(state: &mut LiveState, code: KeyCode) -> Action {
        state.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn names(state: &LiveState) -> Vec<&str> {
        state
            .transfers
            .iter()
            .map(|transfer| transfer.transfer.as_str())
            .collect()
    }

    #[test]
    fn what_ran_stays_and_what_was_over_is_not_shown() {
        let mut state = state();
        let (old, new) = (
            transfer("old", Phase::Done, 1),
            transfer("new", Phase::Fetching, 9),
        );
        assert!(
            state.list(vec![old.clone(), new]),
            "the first one is looked at"
        );
        assert_eq!((names(&state), state.chosen()), (vec!["new"], Some("new")));
        let next = transfer("next", Phase::Connecting, 12);
        assert!(!state.list(vec![old.clone(), transfer("new", Phase::Done, 9), next]));
        assert_eq!(
            (names(&state), state.chosen()),
            (vec!["next", "new"], Some("new"))
        );
        assert!(
            state.list(vec![old.clone()]),
            "what was forgotten is not looked at"
        );
        assert_eq!((names(&state), state.chosen()), (vec!["old"], Some("old")));
        let mut named = LiveState::new(Palette::new(false), Some("old".into()));
        named.list(vec![old, transfer("new", Phase::Fetching, 9)]);
        assert_eq!(names(&named), ["old"]);
    }

    #[test]
    fn keys_choose_pause_and_end() {
        let mut state = state();
        state.list(vec![
            transfer("a", Phase::Fetching, 9),
            transfer("b", Phase::Paused, 8),
        ]);
        assert_eq!(
            press(&mut state, KeyCode::Char('p')),
            Action::Pause("a".into())
        );
        assert_eq!(press(&mut state, KeyCode::Char('r')), Action::Draw);
        assert_eq!(state.message.as_deref(), Some("It is fetching already."));
        assert_eq!(
            (press(&mut state, KeyCode::Tab), state.chosen()),
            (Action::Choose, Some("b"))
        );
        assert_eq!(
            press(&mut state, KeyCode::Char('r')),
            Action::Resume("b".into())
        );
        assert_eq!(
            (press(&mut state, KeyCode::Down), state.chosen()),
            (Action::Choose, Some("a"))
        );
        assert_eq!(
            (press(&mut state, KeyCode::Up), state.chosen()),
            (Action::Choose, Some("b"))
        );
        assert_eq!(
            (press(&mut state, KeyCode::Char('?')), state.help),
            (Action::Draw, true)
        );
        assert_eq!(
            (press(&mut state, KeyCode::Esc), state.help),
            (Action::Draw, false)
        );
        assert_eq!(press(&mut state, KeyCode::Esc), Action::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.key(interrupt), Action::Interrupt);
    }

    #[test]
    fn sources_keep_their_marks() {
        let mut state = state();
        state.list(vec![transfer("a", Phase::Fetching, 9)]);
        let mut view = view("a");
        state.look(view.clone());
        let marks: Vec<usize> = view
            .sources
            .iter()
            .map(|source| state.mark(&source.device))
            .collect();
        view.sources.reverse();
        state.look(view.clone());
        view.sources.reverse();
        assert_eq!(
            view.sources
                .iter()
                .map(|s| state.mark(&s.device))
                .collect::<Vec<_>>(),
            marks
        );
        assert_eq!(state.mark("nobody"), MARKS);
        state.look(super::super::samples::view("unknown"));
        assert_eq!(
            state.view().map(|v| v.transfer.transfer.as_str()),
            Some("a")
        );
    }
}
