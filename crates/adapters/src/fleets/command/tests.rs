//! The fleet here is a folder: one file for each member, whose content is its run.

use std::path::Path;

use super::super::conformance::{self, Capability, Harness};
use super::super::{BootId, MemberId, ReloadId};
use super::*;

struct Folder {
    folder: tempfile::TempDir,
    fleet: CommandFleet,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for member in ["a", "b", "c"] {
            std::fs::write(folder.path().join(member), "1").unwrap();
        }
        let fleet = CommandFleet::new(config(folder.path())).unwrap();
        Self { folder, fleet }
    }
}

fn config(folder: &Path) -> CommandConfig {
    let list =
        "for m in [a-z]; do [ -f $m ] && echo \"{\\\"id\\\":\\\"$m\\\",\\\"boot\\\":\\\"$(cat $m)\\\"}\"; done; true";
    let bump = "echo $(($(cat \"$KEYROLL_MEMBER\")+1)) > \"$KEYROLL_MEMBER\"";
    let bump_all = "for m in [a-z]; do echo $(($(cat $m)+1)) > $m; done";
    CommandConfig {
        folder: Some(folder.to_owned()),
        ..CommandConfig::new(
            "folder".into(),
            CommandLine::Shell(list.into()),
            Some(CommandLine::Shell(bump.into())),
            Some(CommandLine::Shell(bump_all.into())),
        )
    }
}

#[async_trait]
impl Harness for Folder {
    fn fleet(&self) -> &dyn Fleet {
        &self.fleet
    }

    async fn restart_behind_its_back(&self, member: &Member) -> Capability {
        std::fs::write(self.folder.path().join(&member.id.0), "by-hand-1").unwrap();
        // The next reload counts on from a number again.
        std::fs::write(self.folder.path().join(&member.id.0), "1000").unwrap();
        Capability::Done
    }

    fn empty(&self) -> Option<Box<dyn Fleet>> {
        let config = CommandConfig { list: argv(&["true"]), ..config(self.folder.path()) };
        Some(Box::new(CommandFleet::new(config).unwrap()))
    }

    fn unlistable(&self) -> Option<Box<dyn Fleet>> {
        let config = CommandConfig { list: argv(&["false"]), ..config(self.folder.path()) };
        Some(Box::new(CommandFleet::new(config).unwrap()))
    }
}

fn argv(words: &[&str]) -> CommandLine {
    CommandLine::Argv(words.iter().map(|&word| word.to_owned()).collect())
}

fn reload_of(member: &str, boot: &str) -> ReloadRequest {
    ReloadRequest {
        id: ReloadId("r-1/accepting/1".into()),
        target: ReloadTarget::Member { id: MemberId(member.into()), boot: BootId(boot.into()) },
    }
}

#[tokio::test]
async fn keeps_the_fleet_contract() {
    conformance::run_all(&Folder::new()).await;
}

#[tokio::test]
async fn arguments_are_filled_in_and_never_read_by_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let list = argv(&["printf", r#"{"id":"$(touch${IFS}pwned);{boot}","boot":"b","address":"http://127.0.0.1:1/"}"#]);
    let reload = argv(&["cp", "/dev/null", &format!("{}{{reloadId}}", out.display())]);
    let mut config = CommandConfig::new("x".into(), list, Some(reload), None);
    config.folder = Some(folder.path().to_owned());
    let fleet = CommandFleet::new(config.clone()).unwrap();
    let mut request = reload_of("$(touch${IFS}pwned);{boot}", "b");
    request.id = ReloadId("-1".into());
    assert_eq!(fleet.reload(&request).await.unwrap(), ReloadOutcome::Started);
    assert!(folder.path().join("out-1").exists());

    // The values as a program sees them, one a line.
    config.reload =
        Some(argv(&["/bin/sh", "-c", "printf '%s\\n' \"$@\" > seen", "sh", "{member}", "{address}", "{boot}"]));
    let fleet = CommandFleet::new(config).unwrap();
    fleet.reload(&request).await.unwrap();
    let seen = std::fs::read_to_string(folder.path().join("seen")).unwrap();
    assert_eq!(seen, "$(touch${IFS}pwned);{boot}\nhttp://127.0.0.1:1/\nb\n");
    assert!(!folder.path().join("pwned").exists());
}

#[tokio::test]
async fn a_placeholder_in_a_shell_line_is_refused_with_the_way_out() {
    let mut config = config(Path::new("/"));
    config.reload = Some(CommandLine::Shell("ssh {member} systemctl restart app".into()));
    let error = CommandFleet::new(config).unwrap_err();
    assert!(error.to_string().contains("\"$KEYROLL_MEMBER\""), "{error}");
}

#[tokio::test]
async fn a_command_that_fails_says_how_and_not_what_it_said() {
    let folder = Folder::new();
    let mut config = config(folder.folder.path());
    config.reload = Some(CommandLine::Shell("echo 'SECRET_KEY_BASE=0123' >&2; exit 4".into()));
    let fleet = CommandFleet::new(config).unwrap();
    let error = fleet.reload(&reload_of("a", "1")).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("exit code 4") && !source.contains("0123"), "{source}");
    // It was not done, so it is tried again.
    assert!(fleet.reload(&reload_of("a", "1")).await.is_err());
}

#[tokio::test]
async fn a_listing_that_hangs_is_an_error_and_not_nobody() {
    let folder = Folder::new();
    let mut config = config(folder.folder.path());
    config.list = argv(&["sleep", "60"]);
    config.list_limit = Duration::from_millis(100);
    let fleet = CommandFleet::new(config).unwrap();
    assert!(matches!(fleet.members().await, Err(FleetError::Unavailable { .. })));
}

#[tokio::test]
async fn what_may_answer_in_a_moment_is_told_from_what_will_not() {
    let folder = Folder::new();
    let listed_by = |list: &[&str]| {
        let config = CommandConfig { list: argv(list), ..config(folder.folder.path()) };
        CommandFleet::new(config).unwrap()
    };
    let failed = listed_by(&["sh", "-c", "exit 255"]).members().await;
    assert!(matches!(failed, Err(FleetError::Unavailable { .. })), "{failed:?}");
    for lasting in [&["no-such-program-as-this"][..], &["echo", "not a member"]] {
        let failed = listed_by(lasting).members().await;
        assert!(matches!(failed, Err(FleetError::List { .. })), "{failed:?}");
    }
}

#[tokio::test]
async fn a_recorded_reload_is_not_repeated_by_another_keyroll() {
    let folder = Folder::new();
    let record = folder.folder.path().join("reloads.jsonl");
    // A reload that the orchestrator takes up later: the run does not change at once.
    let config = CommandConfig {
        reload: Some(CommandLine::Shell("echo x >> calls".into())),
        record: Some(record),
        ..config(folder.folder.path())
    };
    let first = CommandFleet::new(config.clone()).unwrap();
    assert_eq!(first.reload(&reload_of("a", "1")).await.unwrap(), ReloadOutcome::Started);
    let second = CommandFleet::new(config).unwrap();
    assert_eq!(second.reload(&reload_of("a", "1")).await.unwrap(), ReloadOutcome::AlreadyDone);
    assert_eq!(std::fs::read_to_string(folder.folder.path().join("calls")).unwrap(), "x\n");
}

#[test]
fn a_value_that_looks_like_a_placeholder_is_not_filled_in_again() {
    assert_eq!(fill("{x}{member}{boot}{", &[(&MEMBER, "{boot}"), (&BOOT, "b")]), "{x}{boot}b{");
}
