//! What a driver tells while it drives: its picture for whoever watches, and why it waits, with the names of members.

use keyroll_rotation::gate::Unproven;
use keyroll_rotation::{Halt, Wait};

use crate::answers::explain::Names;
use crate::answers::status::STATUS_FILE;
use crate::driver::session::Session;
use crate::error::EngineError;
use crate::report::{Notice, StatusSource, UnprovenMember, WaitReport};

impl Session<'_> {
    /// Writes `status.json` and shows the picture to whoever watches.
    pub(crate) fn publish(&mut self, wait: Option<&WaitReport>) -> Result<(), EngineError> {
        let seen = self.engine.last_members(&self.stamp);
        // Whoever has asked nobody yet does not wipe out what was shown to the process before.
        let members = if self.members.is_empty() { &seen } else { &self.members };
        let mut status = self.engine.picture(&self.stamp, &self.views, members, StatusSource::Driver);
        status.wait = wait.cloned();
        status.stores = self.engine.store_status(&self.stamp, &self.views);
        let text = serde_json::to_vec_pretty(&status).unwrap_or_default();
        self.engine.replace_state_file(STATUS_FILE, &text)?;
        self.engine.observer.notice(&Notice::Status(Box::new(status)));
        Ok(())
    }

    /// The machine's answer with the names of members.
    pub(crate) fn report_wait(&self, wait: &Wait) -> WaitReport {
        let (consumers, stores) = (self.engine.consumer_names(), self.engine.locations());
        let names = self.names(&consumers, &stores);
        names.report(wait, self.machine())
    }

    /// What there is to decide where it stands still.
    pub(crate) fn decision(&self, halt: &Halt) -> String {
        let Some(machine) = self.machine() else { return String::new() };
        let (consumers, stores) = (self.engine.consumer_names(), self.engine.locations());
        self.names(&consumers, &stores).decision(halt, machine)
    }

    fn names<'a>(&'a self, consumers: &'a [String], stores: &'a [String]) -> Names<'a> {
        Names { roster: &self.roster, consumers, stores, materials: &self.materials, ledger: &self.stamp.ledger }
    }

    pub(crate) fn unproven_members(&self, unproven: &[Unproven]) -> Vec<UnprovenMember> {
        let (consumers, stores) = (self.engine.consumer_names(), self.engine.locations());
        let names = self.names(&consumers, &stores);
        unproven.iter().map(|one| names.unproven(one)).collect()
    }
}
