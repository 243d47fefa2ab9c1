//! `none`: members that take up a new key by themselves, listed by their addresses.
//!
//! Nobody tells this fleet when a member restarts, so a member's run has the same name for ever; what a member shows now
//! is all that is known of it.

use async_trait::async_trait;
use url::Url;

use super::{
    BootId, Fleet, FleetDescription, FleetError, Member, MemberId, MemberState, ReloadOutcome, ReloadRequest,
    ReloadStyle, ReloadTarget,
};

/// Members at fixed addresses that re-read the key themselves.
#[derive(Clone, Debug)]
pub struct StaticFleet {
    addresses: Vec<Url>,
}

impl StaticFleet {
    /// One member for each address.
    pub fn new(addresses: Vec<Url>) -> Self {
        Self { addresses }
    }

    fn location(&self) -> String {
        format!("{} fixed addresses", self.addresses.len())
    }
}

#[async_trait]
impl Fleet for StaticFleet {
    fn describe(&self) -> FleetDescription {
        FleetDescription {
            kind: "none",
            location: self.location(),
            reload: ReloadStyle::HotReload,
            cautions: vec![
                "a restart of a member is not seen in the list, and a member that is not in it is not asked".into(),
            ],
        }
    }

    async fn members(&self) -> Result<Vec<Member>, FleetError> {
        Ok(self
            .addresses
            .iter()
            .map(|address| Member {
                id: MemberId(crate::direct::shown(address)),
                boot: BootId::unknown(),
                address: Some(address.clone()),
                // Whether it answers is for the evidence to find out; a member that does not is unproven.
                state: MemberState::Ready,
                started_at: None,
                workers: Vec::new(),
            })
            .collect())
    }

    async fn reload(&self, request: &ReloadRequest) -> Result<ReloadOutcome, FleetError> {
        if let ReloadTarget::Member { id, .. } = &request.target
            && !self.addresses.iter().any(|address| crate::direct::shown(address) == id.0)
        {
            return Err(FleetError::NoSuchMember { location: self.location(), member: id.0.clone() });
        }
        // There is nothing to do: the members re-read the key.
        Ok(ReloadOutcome::AlreadyDone)
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[tokio::test]
    async fn keeps_the_fleet_contract() {
        let fleet = StaticFleet::new(vec!["http://10.0.0.1:3000".parse().unwrap(), "http://10.0.0.2".parse().unwrap()]);
        conformance::run_all(&conformance::Unchanging(&fleet)).await;
    }

    #[tokio::test]
    async fn an_empty_list_is_nobody() {
        assert!(StaticFleet::new(Vec::new()).members().await.unwrap().is_empty());
    }
}
