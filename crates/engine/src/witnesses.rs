//! From the file's words about proof to witnesses.
//!
//! A member is asked by every witness, and what contradicts itself counts as unknown; so a further witness never weakens proof.

use std::sync::Arc;

use keyroll_adapters::evidence::{
    self, Credential, DrainWitness, HeaderLook, HttpAccess, Look, ProbeConfig, TextLook, Witness,
};
use keyroll_keyring::codec::SessionCodec;

use crate::assemble::AssembleError;
use crate::config::{
    Expectation, FilePath, Payload, Probe, Reissue, RequestValue, SecretReference, SessionKey, StatusSet, TextMatch,
};

/// Every witness that the file names.
pub(crate) fn build(
    config: &SessionKey,
    codec: Option<&Arc<dyn SessionCodec>>,
) -> Result<Vec<Arc<dyn Witness>>, AssembleError> {
    let mut witnesses: Vec<Arc<dyn Witness>> = Vec::new();
    if let (Some(probe), Some(codec)) = (&config.probe, codec) {
        witnesses.push(Arc::new(self::probe(probe, codec)?));
    }
    Ok(witnesses)
}

/// What counts sessions opened under each key, if the file names something.
pub(crate) fn drain(_config: &SessionKey) -> Result<Option<Arc<dyn DrainWitness>>, AssembleError> {
    Ok(None)
}

fn probe(probe: &Probe, codec: &Arc<dyn SessionCodec>) -> Result<evidence::Probe, AssembleError> {
    let payload = match &probe.payload {
        Some(Payload::Json(value)) => evidence::Payload::Json(value.clone()),
        Some(Payload::Text(text)) => evidence::Payload::Text(text.clone()),
        Some(Payload::File(path)) => evidence::Payload::Bytes(read(path)?),
        None => evidence::Payload::default(),
    };
    let settings = ProbeConfig {
        method: probe.method.clone(),
        path: probe.path.clone(),
        access: HttpAccess {
            headers: probe.headers.iter().map(|(name, value)| (name.clone(), request_value(value))).collect(),
            ..HttpAccess::within(probe.timeout.std())
        },
        payload,
        accepted: look(&probe.accepted),
        rejected: look(&probe.rejected),
        workers: evidence::Workers { count: probe.workers.count, header: probe.workers.header.clone() },
    };
    evidence::Probe::new(Arc::clone(codec), settings).map_err(|source| AssembleError::Evidence { what: "probe", source })
}

fn look(expectation: &Expectation) -> Look {
    Look {
        status: expectation.status.as_ref().map(status_set),
        headers: expectation
            .headers
            .iter()
            .map(|header| HeaderLook { name: header.name.clone(), value: text_look(&header.value) })
            .collect(),
        body: expectation.body.as_ref().map(text_look),
        reissue: match expectation.reissue {
            Reissue::SameSession => evidence::Reissue::SameSession,
            Reissue::NotTheSame => evidence::Reissue::NotTheSame,
            Reissue::NotAsked => evidence::Reissue::NotAsked,
        },
    }
}

fn text_look(text: &TextMatch) -> TextLook {
    match text {
        TextMatch::Contains(text) => TextLook::Contains(text.clone()),
        TextMatch::Matches(pattern) => TextLook::Matches(pattern.regex().clone()),
        TextMatch::Lacks(text) => TextLook::Lacks(text.clone()),
    }
}

fn status_set(set: &StatusSet) -> evidence::StatusSet {
    evidence::StatusSet::of(set.ranges().iter().copied())
}

fn request_value(value: &RequestValue) -> evidence::RequestValue {
    match value {
        RequestValue::Literal(text) => evidence::RequestValue::Literal(text.clone()),
        RequestValue::Secret(SecretReference::Env(name)) => evidence::RequestValue::Secret(Credential::Env(name.clone())),
        RequestValue::Secret(SecretReference::File(path)) => {
            evidence::RequestValue::Secret(Credential::File(path.resolved().to_owned()))
        }
        RequestValue::Captured(name) => evidence::RequestValue::Captured(name.clone()),
    }
}

fn read(path: &FilePath) -> Result<Vec<u8>, AssembleError> {
    std::fs::read(path.resolved())
        .map_err(|source| AssembleError::PayloadFile { path: path.written().to_owned(), source })
}

