//! Reloads that a person asks for by name, with a rotation under way or without one.
//!
//! What is recorded first is that somebody asked. That it was done, or why not, is an entry of its own behind it; what is refused
//! is not recorded at all.

use keyroll_adapters::fleets::{Member, ReloadStyle};
use keyroll_rotation::{DrainRule, Effect, Halt, Next, Rotation, Stage};

use crate::assembly::Consumer;
use crate::driver::drive::Stop;
use crate::driver::session::Session;
use crate::error::{EngineError, error_chain};
use crate::journal::{Body, Completion, HumanAction, Seq, Why};
use crate::request::ReloadRequest;
use crate::world::stamp::Asked;

impl Session<'_> {
    pub(crate) async fn reload_on_purpose(&mut self, request: ReloadRequest, why: Why) -> Result<Stop, EngineError> {
        self.look_and_compare().await?;
        if let Some(halt @ Halt::ForeignWrite { .. }) = self.machine().and_then(|machine| machine.halt.as_ref()) {
            return Err(EngineError::HumanMustDecide {
                decision: format!(
                    "a reload would carry to members what somebody else wrote, so nobody was reloaded. {}",
                    self.decision(halt)
                ),
            });
        }
        if matches!(request, ReloadRequest::Laggards) && self.engine.list().await?.is_empty() {
            return Err(EngineError::RefusedBecause {
                reason: "no member is listed, so nobody could be reloaded, and nobody shows what the store holds; start the \
                         fleet, or mend what lists it"
                    .into(),
            });
        }
        match request {
            ReloadRequest::Laggards if self.stamp.unfinished().is_none() => self.reload_laggards_as_it_is(why).await,
            ReloadRequest::Laggards => self.reload_laggards_now(why).await,
            ReloadRequest::Member(name) => self.reload_by_name(name, why).await,
        }
    }

    /// The machine has a new attempt to make, and that one effect is what was asked for.
    async fn reload_laggards_now(&mut self, why: Why) -> Result<Stop, EngineError> {
        self.ask_now(Asked::ReloadLaggards {}, &why).await?;
        let now = self.now().await?;
        let Some(Next::Do(effect @ Effect::Reload { .. })) = self.machine().map(|machine| machine.next(now)) else {
            return Ok(Stop::Decided("it is recorded; `keyroll complete` reloads the laggards".into()));
        };
        let event = self.carry_out(&effect).await?;
        self.apply(&event).await?;
        match self.machine().and_then(|machine| machine.halt.as_ref()) {
            Some(halt) => Err(EngineError::HumanMustDecide { decision: self.decision(halt) }),
            None => Ok(Stop::Decided("the laggards were reloaded; `keyroll complete` proves them".into())),
        }
    }

    /// Without a rotation under way, a laggard is a member that does not show what the stores hold.
    async fn reload_laggards_as_it_is(&mut self, why: Why) -> Result<Stop, EngineError> {
        let gate = self.gate_as_it_is()?;
        let asked = self.note(Body::Human { action: HumanAction::ReloadLaggards, why })?;
        let name = format!("{}/on-purpose/{}", self.rotation_id(), self.engine.new_rotation_id()?);
        let done = match self.reload_laggards_of(&name, &gate).await {
            Ok((0, _)) => Ok(Stop::Decided("every member shows what the store holds; nobody was reloaded".into())),
            Ok((lagged, None)) => {
                Ok(Stop::Decided(format!("{lagged} laggard(s) were reloaded, and show what the store holds")))
            }
            Ok((_, Some(index))) => {
                let who =
                    self.roster.get(index).map_or_else(|| "a member".to_owned(), |run| format!("`{}`", run.name()));
                Err(EngineError::HumanMustDecide {
                    decision: format!("{who} does not show what the store holds; `keyroll verify` says what it shows"),
                })
            }
            Err(error) => Err(error),
        };
        self.answer(asked, done)
    }

    async fn reload_by_name(&mut self, name: String, why: Why) -> Result<Stop, EngineError> {
        let (place, consumer, member) = self.member_by_name(&name).await?;
        let asked = self.note(Body::Human { action: HumanAction::ReloadMember { member: name.clone() }, why })?;
        let done = self.reload_member(&name, place, &consumer, &member).await;
        self.answer(asked, done)
    }

    /// Whom a name means, where somebody can reload that one.
    async fn member_by_name(&self, name: &str) -> Result<(u16, Consumer, Member), EngineError> {
        let mut known = Vec::new();
        for (place, consumer) in (0_u16..).zip(&self.engine.assembly.consumers) {
            let members = self.engine.with_retries("the members", || consumer.fleet.members()).await?;
            for member in members {
                if member.id.0 != name {
                    known.push(member.id.0);
                    continue;
                }
                if consumer.fleet.describe().reload == ReloadStyle::HotReload {
                    return Err(EngineError::RefusedBecause {
                        reason: format!(
                            "nothing reloads `{name}`: the members of `{}` read the key again by themselves; restart it by \
                             your own means, or `keyroll verify` to see what it shows",
                            consumer.name
                        ),
                    });
                }
                return Ok((place, consumer.clone(), member));
            }
        }
        Err(EngineError::RefusedBecause {
            reason: format!("there is no member `{name}`; there are {}", known.join(", ")),
        })
    }

    async fn reload_member(
        &mut self,
        name: &str,
        place: u16,
        consumer: &Consumer,
        member: &Member,
    ) -> Result<Stop, EngineError> {
        let draining = self.machine().filter(|machine| {
            machine.stage == Stage::Draining && machine.t0.is_some() && machine.settings.drain == DrainRule::Counter
        });
        if let Some(outgoing) = draining.map(|machine| machine.outgoing) {
            // Its counter begins at zero again; what it has counted until now is read before.
            self.read_counters(outgoing).await?;
        }
        let gate = self.machine().and_then(Rotation::gate);
        // On purpose means now, whatever was reloaded before; so the reload has a name of its own.
        let reload = format!("{}/on-purpose/{}", self.rotation_id(), self.engine.new_rotation_id()?);
        match self.reload_one(&reload, place, consumer, member, gate.as_ref()).await? {
            None => Ok(Stop::Decided(format!("`{name}` was reloaded and is back"))),
            Some(_) => Err(EngineError::HumanMustDecide {
                decision: format!("`{name}` was reloaded and is not back, or does not show what it must"),
            }),
        }
    }

    /// Records what came of something that a person asked for.
    fn answer(&mut self, asked: Seq, done: Result<Stop, EngineError>) -> Result<Stop, EngineError> {
        let body = match &done {
            Ok(_) => Body::Done { intent: asked, now: None, how: Completion::Now },
            Err(error) => Body::Failed { intent: asked, reason: error_chain(error) },
        };
        self.note(body)?;
        done
    }
}
