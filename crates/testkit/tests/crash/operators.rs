//! Two operators at once: exactly one goes on, and the other ends with exit code 6 and the name of the one who does.
//!
//! On one machine they meet at the journal, which only one process may write; from two machines at the compare-and-swap of the
//! store. Both are tried, and so is the moment at which the lock's owner has just died.

use keyroll_engine::ExitKind;
use libtest_mimic::Failed;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use super::lane::{End, Kill, Lane, Place, done, driver, ended};

pub(crate) async fn one_goes_on() -> Result<(), Failed> {
    let mut lane = Lane::start(99).await?;
    let here = lane.place().clone();
    let elsewhere = Place { state_dir: here.folder.join("state").join("of-another-user"), ..here.clone() };

    // While ada drives.
    let began = lane.look().await?;
    let (ada, _line) = stalled(&here, "ada", "escrow/after take lock").await?;
    for place in [&here, &elsewhere] {
        refused(ended(driver(place, "bob", &["rotate"], None)?).await?, "ada")?;
    }
    finished(ended(ada).await?)?;
    lane.check_one_rotation(&began).await?;

    // At the same moment, in one state folder.
    for _ in 0..3 {
        let began = lane.look().await?;
        one_of_two(driver(&here, "ada", &["rotate"], None)?, driver(&here, "bob", &["rotate"], None)?).await?;
        lane.check_one_rotation(&began).await?;
    }

    // Both have seen a free lock, and write.
    let began = lane.look().await?;
    let (ada, _) = stalled(&here, "ada", "escrow/before take lock").await?;
    let (bob, _) = stalled(&elsewhere, "bob", "escrow/before take lock").await?;
    one_of_two(ada, bob).await?;
    lane.check_store(&began).await?;

    // Both take up what a dead driver left.
    let began = lane.look().await?;
    let dead = Kill::At("promoting/after write store 0".to_owned());
    match ended(driver(&here, "eve", &["rotate"], Some(&dead))?).await? {
        End::Killed => {}
        End::Exit(code, said) => return Err(format!("eve was not killed: she ended with {code}: {said}").into()),
    }
    one_of_two(driver(&here, "ada", &["rotate"], None)?, driver(&here, "bob", &["rotate"], None)?).await?;
    lane.check_one_rotation(&began).await?;
    lane.finish().await.map(drop)
}

/// Starts a driver that waits at a point until its standard input is closed, which waiting for its end does.
async fn stalled(place: &Place, operator: &str, point: &str) -> Result<(Child, String), Failed> {
    let mut child = driver(place, operator, &["rotate", "--stall-at", point], None)?;
    let output = child.stdout.take().ok_or("the driver has no output")?;
    match BufReader::new(output).lines().next_line().await? {
        Some(line) => Ok((child, line)),
        None => match ended(child).await? {
            End::Exit(code, said) => Err(format!("{operator} ended with {code} before `{point}`: {said}").into()),
            End::Killed => Err("a driver was killed by somebody else".into()),
        },
    }
}

/// Waits for both, at the same time.
async fn one_of_two(ada: Child, bob: Child) -> Result<(), Failed> {
    let (ada, bob) = tokio::join!(ended(ada), ended(bob));
    match (ada?, bob?) {
        (End::Exit(0, _), other) => refused(other, "ada"),
        (other, End::Exit(0, _)) => refused(other, "bob"),
        (End::Exit(ada, said), End::Exit(bob, heard)) => {
            Err(format!("ada ended with {ada}: {said}; bob ended with {bob}: {heard}").into())
        }
        _ => Err("a driver was killed by somebody else".into()),
    }
}

fn refused(end: End, holder: &str) -> Result<(), Failed> {
    match end {
        End::Exit(code, said)
            if code == i32::from(ExitKind::Locked.code()) && said.contains(&format!("`{holder}`")) =>
        {
            Ok(())
        }
        End::Exit(code, said) => {
            Err(format!("the second operator ended with {code}, and {holder} drives: {said}").into())
        }
        End::Killed => Err("a driver was killed by somebody else".into()),
    }
}

fn finished(end: End) -> Result<(), Failed> {
    match end {
        End::Exit(code, said) => done(code, &said),
        End::Killed => Err("a driver was killed by somebody else".into()),
    }
}
