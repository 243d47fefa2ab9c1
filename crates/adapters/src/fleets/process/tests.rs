//! The application here is this very test binary (see `application`), or `sleep` where nobody asks for an answer.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use super::super::conformance::{self, Capability, Harness};
use super::*;
use crate::evidence::StatusSet;

/// Ends the processes when the test ends, however it ends.
struct Fixture {
    fleet: ProcessFleet,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new(argv: &[&str], members: usize, adjust: impl FnOnce(&mut ProcessConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sockets: Vec<TcpListener> = (0..members).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let members = sockets
            .iter()
            .enumerate()
            .map(|(index, socket)| ProcessMember {
                id: format!("web-{index}"),
                port: Some(socket.local_addr().unwrap().port()),
            })
            .collect();
        let argv = argv.iter().map(|&argument| argument.to_owned()).collect();
        let mut config = ProcessConfig::new(argv, members, folder.path().join("state"));
        config.grace = Duration::from_secs(3);
        adjust(&mut config);
        Self { fleet: ProcessFleet::new(config).unwrap(), _folder: folder }
    }

    fn server(members: usize) -> Self {
        let myself = std::env::current_exe().unwrap();
        let mut argv = vec![myself.to_str().unwrap()];
        argv.extend(APPLICATION);
        Self::new(&argv, members, |config| {
            config.env.insert(PORT.into(), "{port}".into());
            config.health = HealthCheck::Answers { path: "/".into(), status: StatusSet::success() };
        })
    }

    fn sleepers(members: usize) -> Self {
        Self::new(&["/bin/sleep", "600"], members, |config| {
            for member in &mut config.members {
                member.port = None;
            }
        })
    }

    async fn until(&self, what: &str, holds: impl Fn(&[Member]) -> bool) -> Vec<Member> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
        loop {
            let members = self.fleet.members().await.unwrap();
            if holds(&members) {
                return members;
            }
            assert!(tokio::time::Instant::now() < deadline, "not in time: {what}: {members:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn ready(&self) -> Vec<Member> {
        self.until("all ready", |members| members.iter().all(|member| member.state == MemberState::Ready)).await
    }

    fn process_of(&self, member: &str) -> Identity {
        self.fleet.record().unwrap().members[member].process.unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let Ok(record) = self.fleet.record() else { return };
        for member in &self.fleet.config.members {
            if let Ok(Found::Running { process }) = self.fleet.find(member, record.members.get(&member.id)) {
                let _ = process.signal(Signal::KILL);
            }
        }
        for (name, member) in &record.members {
            let input = member.run.as_deref().map(|run| self.fleet.state.input_of(name, run));
            let mut left = remains_of(member.process, input.as_deref()).unwrap_or_default();
            left.extend(member.process);
            for process in left {
                let _ = process.signal(Signal::KILL);
                let _ = process.is_alive();
            }
        }
    }
}

#[tokio::test]
async fn what_a_run_prints_is_told_apart_from_what_the_run_before_it_printed() {
    let script = "echo started; exec sleep 600";
    let fixture = Fixture::new(&["/bin/sh", "-c", script], 1, |config| {
        config.members[0].port = None;
        config.health = HealthCheck::Alive { after: Duration::ZERO };
    });
    fixture.fleet.start_all().await.unwrap();
    let before = fixture.ready().await.remove(0);
    let printed = |member: Member| {
        let fleet = &fixture.fleet;
        async move {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
            loop {
                let output = fleet.output(&member).await.unwrap().unwrap();
                if !output.is_empty() {
                    return String::from_utf8(output).unwrap();
                }
                assert!(tokio::time::Instant::now() < deadline, "it printed nothing");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    assert_eq!(printed(before.clone()).await, "started\n");
    let target = ReloadTarget::Member { id: before.id.clone(), boot: before.boot.clone() };
    let request = ReloadRequest { id: crate::fleets::ReloadId("r/accepting/1".into()), target };
    fixture.fleet.reload(&request).await.unwrap();
    let after = fixture.ready().await.remove(0);
    assert_eq!(printed(after).await, "started\n", "only its own");
    assert_eq!(fs::read_to_string(fixture.fleet.output_of(&before.id)).unwrap(), "started\nstarted\n");
    assert_eq!(fixture.fleet.output(&before).await.unwrap(), None, "a run that is gone");
}

#[async_trait]
impl Harness for Fixture {
    fn fleet(&self) -> &dyn Fleet {
        &self.fleet
    }

    /// Kills the process and starts another one by hand, on the same port.
    async fn restart_behind_its_back(&self, member: &Member) -> Capability {
        let port = member.address.as_ref().unwrap().port().unwrap();
        let old = self.process_of(&member.id.0);
        old.signal(Signal::KILL).unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        while old.is_alive() {
            assert!(tokio::time::Instant::now() < deadline, "the old process is still there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The shell ends at once, so nobody leads the new process and no record knows it.
        Command::new("/bin/sh")
            .args(["-c", "\"$@\" &", "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(APPLICATION)
            .env(PORT, port.to_string())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        Capability::Done
    }

    fn empty(&self) -> Option<Box<dyn Fleet>> {
        let config = ProcessConfig {
            members: vec![ProcessMember { id: "nobody".into(), port: None }],
            state_folder: self.fleet.config.state_folder.join("empty"),
            ..self.fleet.config.clone()
        };
        Some(Box::new(ProcessFleet::new(config).unwrap()))
    }

    fn unlistable(&self) -> Option<Box<dyn Fleet>> {
        let state_folder = self.fleet.config.state_folder.join("broken");
        fs::create_dir_all(&state_folder).unwrap();
        fs::write(state_folder.join("fleet.json"), "not json").unwrap();
        let config = ProcessConfig { state_folder, ..self.fleet.config.clone() };
        Some(Box::new(ProcessFleet::new(config).unwrap()))
    }
}

#[tokio::test]
async fn keeps_the_fleet_contract() {
    let fixture = Fixture::server(2);
    fixture.fleet.start_all().await.unwrap();
    fixture.ready().await;
    conformance::run_all(&fixture).await;
    // Whoever was started by hand in the checks is a member by now, and is ended like one.
    fixture.fleet.stop_all().await.unwrap();
    fixture.until("all down", |members| members.iter().all(|member| member.state == MemberState::Down)).await;
}

#[tokio::test]
async fn another_keyroll_adopts_the_processes() {
    let fixture = Fixture::sleepers(2);
    fixture.fleet.start_all().await.unwrap();
    let before = fixture.ready().await;
    let other = ProcessFleet::new(fixture.fleet.config.clone()).unwrap();
    let runs = |members: &[Member]| -> Vec<_> {
        members.iter().map(|member| (member.id.clone(), member.boot.clone(), member.state)).collect()
    };
    assert_eq!(runs(&other.members().await.unwrap()), runs(&before));
    other.start_all().await.unwrap();
    assert_eq!(runs(&other.members().await.unwrap()), runs(&before), "who runs is left alone");
    let reload = ReloadRequest {
        id: super::super::ReloadId("r/accepting/1".into()),
        target: ReloadTarget::Member { id: before[0].id.clone(), boot: before[0].boot.clone() },
    };
    assert_eq!(other.reload(&reload).await.unwrap(), ReloadOutcome::Started);
    // The first Keyroll sees what the second one did, and does not do it again.
    assert_ne!(fixture.fleet.members().await.unwrap()[0].boot, before[0].boot);
    assert_eq!(fixture.fleet.reload(&reload).await.unwrap(), ReloadOutcome::AlreadyDone);
}

#[tokio::test]
async fn processes_have_a_group_of_their_own_and_a_short_environment() {
    let fixture = Fixture::new(&["/bin/sleep", "600"], 1, |config| {
        config.members[0].port = None;
        config.env.insert("WHO".into(), "{member}".into());
    });
    fixture.fleet.start_all().await.unwrap();
    let process = fixture.process_of("web-0");
    assert_eq!(Stat::of(process.pid).unwrap().group, process.pid);
    let environment = fs::read_to_string(format!("/proc/{}/environ", process.pid)).unwrap();
    assert!(environment.contains("WHO=web-0"));
    assert!(!environment.contains("CARGO_MANIFEST_DIR"), "Keyroll's own variables stay its own");
}

#[tokio::test]
async fn the_environment_file_is_read_anew_at_each_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.env");
    fs::write(&file, "SECRET_KEY_BASE='first'\n").unwrap();
    let fixture = Fixture::new(&["/bin/sleep", "600"], 1, |config| {
        config.members[0].port = None;
        config.env_files = vec![file.clone()];
    });
    fixture.fleet.start_all().await.unwrap();
    let environment = || fs::read_to_string(format!("/proc/{}/environ", fixture.process_of("web-0").pid)).unwrap();
    assert!(environment().contains("SECRET_KEY_BASE=first"));
    fs::write(&file, "SECRET_KEY_BASE='second'\n").unwrap();
    let reload = ReloadRequest { id: super::super::ReloadId("r/x/1".into()), target: ReloadTarget::All };
    fixture.fleet.reload(&reload).await.unwrap();
    assert!(environment().contains("SECRET_KEY_BASE=second"));
}

#[tokio::test]
async fn a_process_that_ignores_the_signal_is_killed_after_the_grace() {
    let script = "trap '' TERM; while :; do sleep 0.05; done";
    let fixture = Fixture::new(&["/bin/sh", "-c", script], 1, |config| {
        config.members[0].port = None;
        config.grace = Duration::from_millis(200);
    });
    fixture.fleet.start_all().await.unwrap();
    let process = fixture.process_of("web-0");
    fixture.fleet.stop_all().await.unwrap();
    assert!(!process.is_alive());
    assert!(remains_of(Some(process), None).unwrap().is_empty(), "its children are gone too");
}

#[tokio::test]
async fn a_worker_that_outlives_its_master_is_still_the_member_and_is_ended() {
    // The worker leaves the group by `setsid`, as daemons do, and keeps its standard input.
    // A shell takes the standard input away from what it starts in the background, hence the detour.
    let script = "exec 3<&0; setsid sleep 600 <&3 & sleep 600";
    let fixture = Fixture::new(&["/bin/sh", "-c", script], 1, |config| config.members[0].port = None);
    fixture.fleet.start_all().await.unwrap();
    let process = fixture.process_of("web-0");
    let run = fixture.fleet.record().unwrap().members["web-0"].run.clone().unwrap();
    let input = fixture.fleet.state.input_of("web-0", &run);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while kernel::reading_from(&input).unwrap().len() < 3 {
        assert!(tokio::time::Instant::now() < deadline, "the worker does not show");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    process.signal(Signal::KILL).unwrap();
    let members = fixture.until("its master is dead", |members| members[0].state == MemberState::Unready).await;
    let reload = ReloadRequest {
        id: super::super::ReloadId("r/x/1".into()),
        target: ReloadTarget::Member { id: members[0].id.clone(), boot: members[0].boot.clone() },
    };
    assert_eq!(fixture.fleet.reload(&reload).await.unwrap(), ReloadOutcome::Started);
    assert!(kernel::reading_from(&input).unwrap().is_empty(), "nobody of the old run is left");
}

#[tokio::test]
async fn a_run_that_was_never_recorded_is_found_and_not_started_twice() {
    let fixture = Fixture::sleepers(1);
    fixture.fleet.start_all().await.unwrap();
    let process = fixture.process_of("web-0");
    // As it is after a crash between the start and its record.
    fixture.fleet.change(|record| record.members.get_mut("web-0").unwrap().process = None).await.unwrap();
    fixture.fleet.start_all().await.unwrap();
    let members = fixture.fleet.members().await.unwrap();
    assert!(members[0].boot.0.starts_with(&format!("{}.{}.", process.pid, process.start)), "{members:?}");
    fixture.fleet.stop_all().await.unwrap();
    assert!(!process.is_alive());
}

#[tokio::test]
async fn a_restart_that_nobody_brought_to_its_end_is_taken_up_by_the_next_reload() {
    for stopped in [false, true] {
        let fixture = Fixture::server(1);
        fixture.fleet.start_all().await.unwrap();
        let before = fixture.ready().await.remove(0);
        // As it is when the driver died before the signal, and when it died between the end of one run and the next.
        let process = fixture.process_of("web-0");
        fixture.fleet.change(|record| record.members.get_mut("web-0").unwrap().phase = Phase::Starting).await.unwrap();
        if stopped {
            process.signal(Signal::KILL).unwrap();
        }
        let state = if stopped { MemberState::Unready } else { MemberState::Ready };
        let left = fixture.until("it is seen as it is", |members| members[0].state == state).await.remove(0);
        assert_eq!(left.boot, before.boot, "it is missed as the run that it was");
        // While somebody is at it, it is on its way out.
        let held = fixture.fleet.state.lock("web-0", Duration::ZERO).await.unwrap();
        let meanwhile = if stopped { MemberState::Unready } else { MemberState::Terminating };
        assert_eq!(fixture.fleet.members().await.unwrap()[0].state, meanwhile);
        drop(held);
        let reload = ReloadRequest {
            id: super::super::ReloadId("r/x/1".into()),
            target: ReloadTarget::Member { id: left.id.clone(), boot: left.boot.clone() },
        };
        assert_eq!(fixture.fleet.reload(&reload).await.unwrap(), ReloadOutcome::Started);
        let after = fixture.ready().await.remove(0);
        assert_ne!(after.boot, before.boot);
        assert!(!process.is_alive());
    }
}

#[tokio::test]
async fn a_program_that_ends_at_once_is_down_and_can_be_reloaded() {
    let fixture = Fixture::new(&["/bin/true"], 1, |config| config.members[0].port = None);
    let never = fixture.fleet.members().await.unwrap();
    assert_eq!((never[0].state, never[0].boot.0.as_str()), (MemberState::Down, "never-started"));
    fixture.fleet.start_all().await.unwrap();
    let down = fixture.until("it has ended", |members| members[0].state == MemberState::Down).await;
    assert_ne!(down[0].boot, never[0].boot);
    let reload = ReloadRequest {
        id: super::super::ReloadId("r/x/1".into()),
        target: ReloadTarget::Member { id: down[0].id.clone(), boot: down[0].boot.clone() },
    };
    assert_eq!(fixture.fleet.reload(&reload).await.unwrap(), ReloadOutcome::Started);
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_an_error_that_names_it() {
    let fixture = Fixture::new(&["/no/such/program"], 1, |_| {});
    let error = fixture.fleet.start_all().await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("`web-0`") && source.contains("/no/such/program"), "{error}: {source}");
}

#[tokio::test]
async fn a_member_that_takes_no_requests_yet_is_unready() {
    // It runs and never listens.
    let fixture = Fixture::new(&["/bin/sleep", "600"], 1, |_| {});
    fixture.fleet.start_all().await.unwrap();
    assert_eq!(fixture.fleet.members().await.unwrap()[0].state, MemberState::Unready);
}

#[tokio::test]
async fn a_worker_is_ready_when_it_has_lived_long_enough() {
    let fixture = Fixture::new(&["/bin/sleep", "600"], 1, |config| {
        config.members[0].port = None;
        config.health = HealthCheck::Alive { after: Duration::from_millis(400) };
    });
    fixture.fleet.start_all().await.unwrap();
    assert_eq!(fixture.fleet.members().await.unwrap()[0].state, MemberState::Unready);
    fixture.ready().await;
}

#[test]
fn a_host_makes_an_address_or_is_refused() {
    let with = |host: &str| {
        let members = vec![ProcessMember { id: "a".into(), port: Some(80) }];
        let config = ProcessConfig::new(vec!["x".into()], members, "/nonexistent".into());
        ProcessFleet::new(ProcessConfig { host: host.into(), ..config })
    };
    for host in ["127.0.0.1", "localhost", "::1", "[::1]"] {
        with(host).unwrap();
    }
    for host in ["", "a/b", "user@host", "host:1"] {
        assert!(matches!(with(host).unwrap_err(), ProcessConfigError::Host { .. }), "{host}");
    }
}

#[test]
fn names_and_ports_are_checked() {
    let check = |members: &[(&str, u16)]| {
        let members = members.iter().map(|(id, port)| ProcessMember { id: (*id).into(), port: Some(*port) }).collect();
        ProcessFleet::new(ProcessConfig::new(vec!["x".into()], members, "/nonexistent".into())).map(drop)
    };
    check(&[("a", 1), ("b.c-d_e", 2)]).unwrap();
    assert!(matches!(check(&[("../a", 1)]), Err(ProcessConfigError::Name { .. })));
    assert!(matches!(check(&[("a", 1), ("a", 2)]), Err(ProcessConfigError::TwiceNamed { .. })));
    assert!(matches!(check(&[("a", 1), ("b", 1)]), Err(ProcessConfigError::SamePort { port: 1 })));
}

/// Answers every request with an empty 200 on the port that the environment names.
#[test]
#[ignore = "not a test: it is the application that other tests start"]
fn application() {
    let Ok(port) = std::env::var(PORT) else { return };
    let socket = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    for stream in socket.incoming().flatten() {
        let mut stream = stream;
        let mut request = [0; 1024];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
}

const APPLICATION: [&str; 4] = ["--exact", "fleets::process::tests::application", "--ignored", "--nocapture"];
const PORT: &str = "KEYROLL_TEST_PORT";
