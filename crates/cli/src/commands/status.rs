//! `keyroll status` and `keyroll explain`: the picture, from the driver's snapshot or from the stores.

use std::sync::Arc;
use std::time::Duration;

use super::refusal::engine_failure;
use super::setup::{Setup, block_on};
use crate::args::{Global, StatusArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::view::View;
use crate::output::{Console, SCHEMA_VERSION, table};

pub(crate) fn status(args: &StatusArgs, global: &Global, console: Console) -> Result<Exit, Failure> {
    let setup = Setup::load(global)?;
    let view = Arc::new(View::new(console));
    let (engine, stop) = setup.engine(&view)?;
    let watch = args.watch;
    let work = async {
        let mut last = String::new();
        loop {
            let status = engine.status().await?;
            let text = table::picture(&status, jiff::Timestamp::now());
            if text != last {
                view.finish();
                if watch && console.stdout_is_terminal() {
                    console.text(CLEAR_SCREEN);
                }
                console.result(&text, &status);
                last = text;
            }
            if !watch {
                return Ok(Exit::Done);
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
            }
        }
    };
    // Nothing is driven here, so Ctrl-C just ends the watch.
    drop(stop);
    block_on(None, work)?.map_err(|err| engine_failure(&err, console))
}

pub(crate) fn explain(global: &Global, console: Console) -> Result<Exit, Failure> {
    let setup = Setup::load(global)?;
    let view = Arc::new(View::new(console));
    let (engine, stop) = setup.engine(&view)?;
    let wait = block_on(Some(stop), engine.explain())?.map_err(|err| engine_failure(&err, console))?;
    view.finish();
    let document = serde_json::json!({ "schema_version": SCHEMA_VERSION, "kind": "explain", "wait": wait });
    match wait {
        Some(wait) => {
            console.result(&table::reasons(&wait, jiff::Timestamp::now()), &document);
            Ok(Exit::Waiting)
        }
        None => {
            console.result("nothing says no", &document);
            Ok(Exit::Done)
        }
    }
}

const CLEAR_SCREEN: &str = "\u{1b}[2J\u{1b}[H";
