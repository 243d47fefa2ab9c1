//! `keyroll token`: session tokens by hand. Keys come from files or the environment, tokens from files or a pipe.

use std::collections::BTreeMap;

use keyroll_keyring::codec::{self, Mint, MintError, OpenError, ResealError, SessionCodec};
use keyroll_keyring::{Key, KeyId, UnixTime, sealed};

use crate::args::{CodecArgs, KeySource, TokenCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Console, SCHEMA_VERSION};
use crate::secrets;

pub(crate) fn run(command: &TokenCommand, console: Console) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Mint { codec, key, payload, lifetime, key_id } => {
            mint(codec, (key, KeyId(*key_id)), payload, lifetime.as_deref(), console)
        }
        TokenCommand::Open { codec, key, token } => open(codec, key, token, console),
        TokenCommand::Reseal { codec, key, to_key_file, to_key_id, token } => {
            reseal(codec, key, (to_key_file, KeyId(*to_key_id)), token, console)
        }
        TokenCommand::Inspect { token } => super::inspect::run(&secrets::read_line(token)?, console),
    }
}

fn mint(
    args: &CodecArgs,
    (source, id): (&KeySource, KeyId),
    payload: &str,
    lifetime: Option<&str>,
    console: Console,
) -> Result<Exit, Failure> {
    let codec = build(args)?;
    let key = Key::single(id, secrets::read_key(source, args.encoding)?);
    let payload = secrets::read_bytes(payload)?;
    let now = super::now();
    let expires_at = match lifetime {
        Some(text) => Some(UnixTime(now.0 + super::duration(text)?.as_secs() as i64)),
        None => None,
    };
    let token = codec
        .mint(&key, &Mint { payload: payload.expose(), issued_at: now, expires_at })
        .map_err(|err| not_minted(&err))?;
    console.result(
        &token,
        &serde_json::json!({
            "schema_version": SCHEMA_VERSION, "kind": "token", "codec": codec.name(),
            "cookie": codec.cookie_name(), "token": token,
        }),
    );
    Ok(Exit::Done)
}

fn open(args: &CodecArgs, source: &KeySource, token: &str, console: Console) -> Result<Exit, Failure> {
    let codec = build(args)?;
    let material = secrets::read_key(source, args.encoding)?;
    let token = secrets::read_line(token)?;
    let key = Key::single(named(&token), material);
    let opened = codec.open(&[&key], &token, super::now()).map_err(refused)?;
    let payload = String::from_utf8_lossy(opened.payload.expose());
    console.result(
        &payload,
        &serde_json::json!({
            "schema_version": SCHEMA_VERSION, "kind": "opened", "codec": codec.name(), "payload": payload,
            "issued_at": opened.issued_at.map(|time| time.0), "expires_at": opened.expires_at.map(|time| time.0),
        }),
    );
    Ok(Exit::Done)
}

fn reseal(
    args: &CodecArgs,
    source: &KeySource,
    (to_key_file, to_id): (&str, KeyId),
    token: &str,
    console: Console,
) -> Result<Exit, Failure> {
    let codec = build(args)?;
    let from = secrets::read_key(source, args.encoding)?;
    let to_source = KeySource { key_file: Some(to_key_file.to_owned()), key_env: None };
    let to = Key::single(to_id, secrets::read_key(&to_source, args.encoding)?);
    let token = secrets::read_line(token)?;
    let from = Key::single(named(&token), from);
    let sealed = codec.reseal(&[&from], &to, &token, super::now()).map_err(|err| match err {
        ResealError::Open(err) => refused(err),
        err => Failure::from_error(Exit::Failed, &err),
    })?;
    console.result(
        &sealed,
        &serde_json::json!({
            "schema_version": SCHEMA_VERSION, "kind": "token", "codec": codec.name(),
            "cookie": codec.cookie_name(), "token": sealed,
        }),
    );
    Ok(Exit::Done)
}

fn build(args: &CodecArgs) -> Result<Box<dyn SessionCodec>, Failure> {
    let mut parameters = BTreeMap::new();
    for parameter in &args.parameters {
        let Some((name, value)) = parameter.split_once('=') else {
            return Err(Failure::new(Exit::Usage, format!("`--set {parameter}` has no `=`"))
                .next("write --set NAME=VALUE, such as --set cookie=_app_session"));
        };
        parameters.insert(name.to_owned(), value.to_owned());
    }
    codec::build(&args.codec, &parameters).map_err(|err| {
        Failure::from_error(Exit::Usage, &err)
            .next("give the format's parameters by name, such as --set cookie=_app_session")
    })
}

/// The id that a sealed token names; to tokens of other formats no id matters.
fn named(token: &str) -> KeyId {
    sealed::inspect(token).map_or(KeyId(1), |header| header.key)
}

fn not_minted(err: &MintError) -> Failure {
    let failure = Failure::from_error(Exit::Failed, err);
    match err {
        MintError::Times { .. } => failure.next("say how long the session lives, as in --lifetime 1h"),
        MintError::Key { .. } => failure.next("say how the key is written with --encoding, or take another key"),
        _ => failure,
    }
}

fn refused(err: OpenError) -> Failure {
    Failure::new(Exit::Failed, format!("the token does not open: {err}"))
}
