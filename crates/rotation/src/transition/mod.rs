//! What follows from what happened. All transitions stand in the one match of [`Rotation::apply`].
//!
//! Going back is going forward with the roles exchanged: the key that the rotation began with becomes `incoming`, and
//! the same stages and gates carry it there. Only where the candidate never minted is there a shorter way.

use crate::gate::EvidenceRule;
use crate::{Applied, DrainSeen, Event, Halt, Illegal, Permit, ReloadNeed, ReloadScope, Rotation, Stage, Step};

mod foreign;
mod revocation;
mod rollback;
mod stages;

use foreign::Intrusion;

impl Rotation {
    /// Takes what happened. The state is unchanged where the event does not fit it.
    pub fn apply(&self, event: &Event) -> Result<Applied, Illegal> {
        use Stage::{
            Accepting, Closing, CuttingOver, Draining, Escrow, Finished, Planned, Promoting, Retiring, Staged,
            Withdrawing,
        };
        self.admits(event)?;
        let illegal = || Err(Illegal::OutOfPlace { event: event.name(), stage: self.stage });
        let mut to = self.clone();
        match (event, self.stage) {
            (Event::PreflightPassed, Planned) => to.after_preflight(),
            (
                Event::PreflightPassed,
                Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::CandidateStored, Staged) => to.after_staging(),
            (
                Event::CandidateStored,
                Planned | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::Written { store, at }, Accepting | Promoting | Retiring | Withdrawing | CuttingOver) => {
                if self.step == Step::Write && self.lacking().contains(store) {
                    to.written(*store, *at);
                } else if !self.holds_target(*store) {
                    return illegal();
                }
            }
            (Event::Written { .. }, Planned | Staged | Draining | Closing | Escrow | Finished) => return illegal(),

            (Event::Reloaded, Accepting | Promoting | Retiring | Withdrawing | CuttingOver) => match self.step {
                Step::Reload { .. } => to.prove(),
                Step::Act | Step::Write | Step::Gate => return illegal(),
            },
            (Event::Reloaded, Planned | Staged | Draining | Closing | Escrow | Finished) => return illegal(),

            (Event::ReloadStopped { member }, Accepting | Promoting | Retiring | Withdrawing | CuttingOver) => {
                match self.step {
                    Step::Reload { .. } => to.halt = Some(Halt::ReloadStopped { member: *member }),
                    // Members took it up by themselves, and requests fail since.
                    Step::Gate if self.settings.reload == ReloadNeed::HotReload && member.is_none() => {
                        to.halt = Some(Halt::ReloadStopped { member: None });
                    }
                    Step::Act | Step::Write | Step::Gate => return illegal(),
                }
            }
            (Event::ReloadStopped { .. }, Planned | Staged | Draining | Closing | Escrow | Finished) => {
                return illegal();
            }

            (Event::Swept(sweep), Accepting | Promoting | Retiring | Withdrawing | CuttingOver) => {
                match (&self.step, self.permit) {
                    (Step::Gate, _) => to.swept_gate(sweep),
                    (Step::Write, Permit::Needed | Permit::Passed { .. }) => to.swept_permit(sweep),
                    (Step::Write, Permit::Free) | (Step::Act | Step::Reload { .. }, _) => return illegal(),
                }
            }
            (Event::Swept(sweep), Draining) => to.swept_drain(sweep),
            (Event::Swept(_), Planned | Staged | Closing | Escrow | Finished) => return illegal(),

            (Event::Stamped { t0 }, Draining) => to.t0 = Some(self.t0.unwrap_or(*t0)),
            (
                Event::Stamped { .. },
                Planned | Staged | Accepting | Promoting | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::DrainObserved { observation, now }, Draining) => {
                to.drain_seen = Some(DrainSeen { observation: observation.clone(), at: *now });
                to.weigh_drain();
            }
            (
                Event::DrainObserved { .. },
                Planned | Staged | Accepting | Promoting | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::Closed { now }, Closing) => to.closed(*now),
            (
                Event::Closed { .. },
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::Destroyed, Escrow) => {
                to.destroyed.insert(self.outgoing);
                to.enter(Finished, Permit::Free);
            }
            (
                Event::Destroyed,
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::CandidateDiscarded, Withdrawing) => match self.step {
                Step::Act => {
                    to.destroyed.insert(self.incoming);
                    to.enter(Closing, Permit::Free);
                }
                Step::Write | Step::Reload { .. } | Step::Gate => return illegal(),
            },
            (
                Event::CandidateDiscarded,
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Finished
                | CuttingOver,
            ) => return illegal(),

            (
                Event::WorldObserved { stores, at },
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing
                | CuttingOver,
            ) => to.world_observed(stores, *at)?,
            (Event::WorldObserved { .. }, Finished) => return illegal(),

            (
                Event::Disturbed { at },
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing
                | CuttingOver,
            ) => to.prove_again(Intrusion::Possible, *at),
            (Event::Disturbed { .. }, Finished) => return illegal(),

            (
                Event::ForeignWriteAdopted { stores, at },
                Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing | CuttingOver,
            ) => to.adopt(stores, *at)?,
            (Event::ForeignWriteAdopted { .. }, Planned | Staged | Finished) => return illegal(),

            (
                Event::Paused,
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing
                | CuttingOver,
            ) => to.halt = Some(Halt::Paused),
            (Event::Paused, Finished) => return illegal(),

            (
                Event::Resumed,
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing
                | CuttingOver,
            ) => {
                // Whatever was repaired is to be read: the members that lag are reloaded once more.
                if matches!(self.halt, Some(Halt::ReloadStopped { .. } | Halt::LaggardsRemain)) {
                    to.reload(ReloadScope::Laggards);
                }
                to.halt = None;
            }
            (Event::Resumed, Finished) => return illegal(),

            (
                Event::RollbackRequested,
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | CuttingOver
                | Finished | Withdrawing,
            ) => to.roll_back()?,

            (
                Event::Revoked(revocation),
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing
                | CuttingOver,
            ) => to.revoke(revocation)?,
            (Event::Revoked(_), Finished) => return illegal(),

            (Event::LossAccepted { sessions }, Draining) => {
                to.accepted_loss = Some(*sessions);
                to.weigh_drain();
            }
            (
                Event::LossAccepted { .. },
                Planned | Staged | Accepting | Promoting | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::DrainExtended { by }, Draining) => {
                to.drain_extension = self.drain_extension.after(*by);
                to.weigh_drain();
            }
            (
                Event::DrainExtended { .. },
                Planned | Staged | Accepting | Promoting | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (
                Event::WeakEvidenceAccepted,
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing
                | CuttingOver,
            ) => to.settings.evidence = EvidenceRule::Weak,
            (Event::WeakEvidenceAccepted, Finished) => return illegal(),

            (Event::LaggardReloadRequested, Accepting | Promoting | Retiring | Withdrawing | CuttingOver) => {
                match (&self.step, self.permit) {
                    (Step::Gate | Step::Reload { .. }, _) | (Step::Write, Permit::Needed | Permit::Passed { .. }) => {
                        to.halt = None;
                        to.reload(ReloadScope::Laggards);
                    }
                    (Step::Write, Permit::Free) | (Step::Act, _) => return illegal(),
                }
            }
            (Event::LaggardReloadRequested, Planned | Staged | Draining | Closing | Escrow | Finished) => {
                return illegal();
            }
        }
        Ok(Applied { rotation: to })
    }

    /// Whether a rotation that stands still takes the event at all.
    fn admits(&self, event: &Event) -> Result<(), Illegal> {
        let out_of_place = Err(Illegal::OutOfPlace { event: event.name(), stage: self.stage });
        match (event, &self.halt) {
            // What the driver saw or did counts only while the machine asked for it.
            (
                Event::PreflightPassed
                | Event::CandidateStored
                | Event::Written { .. }
                | Event::Reloaded
                | Event::ReloadStopped { .. }
                | Event::Swept(_)
                | Event::Stamped { .. }
                | Event::DrainObserved { .. }
                | Event::Closed { .. }
                | Event::Destroyed
                | Event::CandidateDiscarded,
                Some(Halt::Paused | Halt::ForeignWrite { .. } | Halt::ReloadStopped { .. } | Halt::LaggardsRemain),
            ) => out_of_place,
            // Nothing was written yet, so there is nothing to undo in what somebody else wrote.
            (Event::RollbackRequested, Some(Halt::ForeignWrite { .. }))
                if matches!(self.stage, Stage::Planned | Stage::Staged) =>
            {
                Ok(())
            }
            (
                Event::RollbackRequested | Event::Revoked(_) | Event::LaggardReloadRequested,
                Some(Halt::ForeignWrite { store, .. }),
            ) => Err(Illegal::Invariant {
                invariant: "I12",
                reason: format!("store {} holds a foreign write; put it back, overwrite it or adopt it first", store.0),
            }),
            (Event::Resumed, None | Some(Halt::ForeignWrite { .. })) => out_of_place,
            // It would go on from there, and only who lets it go on may end a pause.
            (Event::LaggardReloadRequested, Some(Halt::Paused)) => out_of_place,
            (Event::Paused, Some(Halt::ForeignWrite { .. } | Halt::ReloadStopped { .. } | Halt::LaggardsRemain)) => {
                out_of_place
            }
            (Event::Disturbed { .. }, Some(Halt::ForeignWrite { .. })) => out_of_place,
            (
                Event::ForeignWriteAdopted { .. },
                None | Some(Halt::Paused | Halt::ReloadStopped { .. } | Halt::LaggardsRemain),
            ) => out_of_place,
            (
                Event::PreflightPassed
                | Event::CandidateStored
                | Event::Written { .. }
                | Event::Reloaded
                | Event::ReloadStopped { .. }
                | Event::Swept(_)
                | Event::Stamped { .. }
                | Event::DrainObserved { .. }
                | Event::Closed { .. }
                | Event::Destroyed
                | Event::CandidateDiscarded,
                None,
            )
            | (
                Event::RollbackRequested | Event::Revoked(_),
                None | Some(Halt::Paused | Halt::ReloadStopped { .. } | Halt::LaggardsRemain),
            )
            | (Event::LaggardReloadRequested, None | Some(Halt::ReloadStopped { .. } | Halt::LaggardsRemain))
            | (Event::Resumed, Some(Halt::Paused | Halt::ReloadStopped { .. } | Halt::LaggardsRemain))
            | (Event::Paused, None | Some(Halt::Paused))
            | (Event::ForeignWriteAdopted { .. }, Some(Halt::ForeignWrite { .. }))
            | (
                Event::Disturbed { .. },
                None | Some(Halt::Paused | Halt::ReloadStopped { .. } | Halt::LaggardsRemain),
            )
            | (
                Event::WorldObserved { .. }
                | Event::LossAccepted { .. }
                | Event::DrainExtended { .. }
                | Event::WeakEvidenceAccepted,
                _,
            ) => Ok(()),
        }
    }
}

impl Event {
    /// Its name, as the journal writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PreflightPassed => "preflightPassed",
            Self::CandidateStored => "candidateStored",
            Self::Written { .. } => "written",
            Self::Reloaded => "reloaded",
            Self::ReloadStopped { .. } => "reloadStopped",
            Self::Swept(_) => "swept",
            Self::Stamped { .. } => "stamped",
            Self::DrainObserved { .. } => "drainObserved",
            Self::Closed { .. } => "closed",
            Self::Destroyed => "destroyed",
            Self::CandidateDiscarded => "candidateDiscarded",
            Self::WorldObserved { .. } => "worldObserved",
            Self::Disturbed { .. } => "disturbed",
            Self::ForeignWriteAdopted { .. } => "foreignWriteAdopted",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::RollbackRequested => "rollbackRequested",
            Self::Revoked(_) => "revoked",
            Self::LossAccepted { .. } => "lossAccepted",
            Self::DrainExtended { .. } => "drainExtended",
            Self::WeakEvidenceAccepted => "weakEvidenceAccepted",
            Self::LaggardReloadRequested => "laggardReloadRequested",
        }
    }
}
