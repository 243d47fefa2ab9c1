//! Everybody who was ever seen, each run of each worker of each member with an index of its own.
//!
//! A restarted member is another one: what was proven of its last run says nothing of this one.

use std::collections::BTreeMap;

use keyroll_adapters::fleets::{BootId, Member, MemberId};
use keyroll_rotation::MemberIndex;
use serde::{Deserialize, Serialize};

/// The table of indexes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Roster {
    entries: Vec<Run>,
    #[serde(skip)]
    index: BTreeMap<Run, MemberIndex>,
}

/// One run of one worker of one member.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// The consumer's place in the configuration.
    pub(crate) consumer: u16,
    pub(crate) member: MemberId,
    pub(crate) boot: BootId,
    /// The worker process, where a preforking server names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) worker: Option<String>,
}

impl Roster {
    /// The indexes of `member`: one for each worker that it names, or one for itself.
    pub(crate) fn enter(&mut self, consumer: u16, member: &Member) -> Vec<(MemberIndex, Option<String>)> {
        let run =
            |worker: Option<String>| Run { consumer, member: member.id.clone(), boot: member.boot.clone(), worker };
        if member.workers.is_empty() {
            return vec![(self.index_of(run(None)), None)];
        }
        member.workers.iter().map(|name| (self.index_of(run(Some(name.clone()))), Some(name.clone()))).collect()
    }

    /// Who has this index.
    pub(crate) fn get(&self, index: MemberIndex) -> Option<&Run> {
        self.entries.get(usize::try_from(index.0).ok()?)
    }

    /// Reads the table as an earlier process left it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut roster: Self = serde_json::from_slice(bytes)?;
        roster.index = roster.entries.iter().cloned().zip((0..).map(MemberIndex)).collect();
        Ok(roster)
    }

    fn index_of(&mut self, run: Run) -> MemberIndex {
        if let Some(index) = self.index.get(&run) {
            return *index;
        }
        let index = MemberIndex(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        self.entries.push(run.clone());
        self.index.insert(run, index);
        index
    }
}

impl Run {
    /// As people know it.
    pub(crate) fn name(&self) -> String {
        match &self.worker {
            Some(worker) => format!("{} (worker {worker})", self.member.0),
            None => self.member.0.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use keyroll_adapters::fleets::MemberState;

    use super::*;

    fn member(id: &str, boot: &str, workers: &[&str]) -> Member {
        Member {
            id: MemberId(id.into()),
            boot: BootId(boot.into()),
            address: None,
            state: MemberState::Ready,
            started_at: None,
            workers: workers.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_restarted_member_gets_another_index_and_a_known_run_keeps_its_own() {
        let mut roster = Roster::default();
        let first = roster.enter(0, &member("web-1", "a", &[]));
        let second = roster.enter(0, &member("web-1", "b", &[]));
        assert_ne!(first, second);
        assert_eq!(first, roster.enter(0, &member("web-1", "a", &[])));
        assert_ne!(first, roster.enter(1, &member("web-1", "a", &[])));
    }

    #[test]
    fn each_worker_has_its_own_index_and_the_table_survives_a_restart_of_keyroll() {
        let mut roster = Roster::default();
        let workers = roster.enter(0, &member("web-1", "a", &["w1", "w2"]));
        assert_eq!(workers.len(), 2);
        let mut back = Roster::decode(&serde_json::to_vec(&roster).unwrap()).unwrap();
        assert_eq!(back.enter(0, &member("web-1", "a", &["w1", "w2"])), workers);
        assert_eq!(back.entries.len(), 2);
        assert_eq!(back.get(workers[1].0).unwrap().name(), "web-1 (worker w2)");
    }
}
