//! What can be said of a world afterwards, and what has to hold in it.
//! Inputs: its log. Outputs: figures, or a panic with the log. It must never change what it looks at.

use super::*;

impl World {
    pub(in super::super) fn leader(&self) -> Option<String> {
        self.members
            .iter()
            .find(|(name, sim)| !self.gone.contains(*name) && sim.core.status(self.now).leads)
            .map(|(name, _)| name.clone())
    }

    pub(in super::super) fn status(&self, name: &str) -> Status {
        self.members[name].core.status(self.now)
    }

    pub(in super::super) fn begins(&self) -> impl Iterator<Item = &Line> {
        self.log.iter().filter(|line| line.what.starts_with("begins"))
    }

    pub(in super::super) fn alone(&self) -> usize {
        self.log.iter().filter(|line| line.what == "begins alone").count()
    }

    pub(in super::super) fn missing(&self) -> usize {
        self.log.iter().filter(|line| line.what.starts_with("missing")).count()
    }

    /// How often something happened to a member.
    pub(in super::super) fn times(&self, member: &str, what: &str) -> usize {
        self.log.iter().filter(|line| line.member == member && line.what == what).count()
    }

    pub(in super::super) fn completions(&self) -> BTreeSet<String> {
        self.log.iter().filter(|line| line.what == "completed").map(|line| line.operation.clone()).collect()
    }

    /// Those who leave do their work once, those who react once in a pass.
    pub(in super::super) fn assert_nothing_twice(&self) {
        let mut seen = BTreeSet::new();
        for line in self.begins() {
            let key = if line.member.starts_with("lb") && !self.notices.contains_key(&line.member) {
                (line.member.clone(), line.operation.clone(), line.step)
            } else {
                (line.member.clone(), String::new(), 0)
            };
            assert!(seen.insert(key), "{} does something twice: {:#?}", line.member, self.log);
        }
    }

    /// How often a later role began while an earlier one was at work, or before it began.
    pub(in super::super) fn order_violations(&self) -> usize {
        let rank =
            |name: &str| ["lb", "replica", "primary"].iter().position(|role| name.starts_with(role)).unwrap_or(9);
        let begins: Vec<&Line> = self.begins().collect();
        let breaks = |line: &&&Line| {
            begins.iter().any(|earlier| {
                let of_same = earlier.operation == line.operation && earlier.step < line.step;
                of_same && rank(&earlier.member) < rank(&line.member) && earlier.ends > line.at
            })
        };
        begins.iter().filter(breaks).count()
    }

    pub(in super::super) fn assert_order(&self) {
        assert_eq!(self.order_violations(), 0, "{:#?}", self.log);
    }

    pub(in super::super) fn assert_epochs_grow(&self) {
        for (name, sim) in &self.members {
            assert!(sim.epochs.is_sorted(), "{name} obeyed {:?}", sim.epochs);
        }
    }
}
