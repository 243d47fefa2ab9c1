//! The file stores on disks that refuse: full, read-only, immutable, owned by others; and killed for good.
//!
//! Needs its own mounts, which Linux gives to root, and on most machines to everybody (`unshare`). Where it does not, the
//! tests are reported as not run, with the reason; with `KEYROLL_TEST_SERVERS=required` that is a failure.

#![expect(clippy::print_stderr, reason = "what was not run is said aloud")]

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use keyroll_adapters::stores::{EnvFileStore, FileStore, SecretStore, Stamp, StoreError, Versioned, WriteOutlook};
use keyroll_keyring::{FieldName, Secret};
use libtest_mimic::{Arguments, Failed, Trial};

/// A test, by the mount it needs.
type Test = fn(&Path) -> Result<(), Failed>;

const ON_MOUNTS: [(&str, &str, Test); 4] = [
    ("a_full_disk_is_an_error_and_the_old_file_is_intact", "size=64k", full_disk),
    ("a_full_disk_stops_no_reader_and_no_sweep", "size=64k", full_disk_after_a_crash),
    ("a_read_only_folder_is_an_error_and_can_still_be_read", "size=1m", read_only),
    ("a_quota_of_files_is_an_error_and_the_old_file_is_intact", "size=1m,nr_inodes=4", full_of_files),
];

const AS_ROOT: [(&str, &str, Test); 2] = [
    ("owner_and_group_are_kept", "size=1m", owner),
    ("a_hidden_file_of_a_stranger_is_not_believed", "size=1m", stranger),
];

fn main() -> ExitCode {
    if let Some(name) = std::env::var_os(INSIDE) {
        return inside(&name.to_string_lossy());
    }
    if let Some(path) = std::env::var_os(WRITER) {
        return write_forever(Path::new(&path));
    }
    let arguments = Arguments::from_args();
    let mounts = mounts();
    let root = rustix::process::geteuid().is_root();
    let is_required = std::env::var_os("KEYROLL_TEST_SERVERS").is_some_and(|value| value == "required");
    let mut trials = Vec::new();
    for (tests, missing) in [
        (&ON_MOUNTS[..], mounts.is_none().then_some("no mounts of its own: run as root, or allow user namespaces")),
        (&AS_ROOT[..], (mounts.is_none() || !root).then_some("needs root: run `sudo -E cargo test`")),
    ] {
        for (name, _, _) in tests {
            let (name, unshare) = (*name, mounts.clone().unwrap_or_default());
            if let Some(reason) = missing {
                eprintln!("NOT RUN: {name}: {reason}");
            }
            let run = move || match missing {
                Some(reason) => Err(format!("not run: {reason}").into()),
                None => in_a_mount_namespace(&unshare, name),
            };
            let is_ignored = missing.is_some() && !is_required;
            trials.push(Trial::test(name, run).with_ignored_flag(is_ignored));
        }
    }
    trials.push(Trial::test("killed_at_any_moment_it_is_before_or_after", killed));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// How to get a mount namespace, if at all.
fn mounts() -> Option<Vec<&'static str>> {
    [vec!["--mount"], vec!["--user", "--map-root-user", "--mount"]].into_iter().find(|arguments| {
        let script = "mount -t tmpfs tmpfs /mnt";
        let status = Command::new("unshare").args(arguments).args(["sh", "-c", script]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    })
}

/// Runs one test of this binary again, alone among mounts of its own.
fn in_a_mount_namespace(unshare: &[&str], name: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (_, options, _) = find(name).ok_or("no such test")?;
    let script = format!("mount -t tmpfs -o {options} tmpfs \"$1\" && exec \"$2\"");
    let output = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", &script, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe()?)
        .env(INSIDE, name)
        .env(FOLDER, folder.path())
        .output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}

fn inside(name: &str) -> ExitCode {
    let folder = std::env::var_os(FOLDER).map(PathBuf::from).unwrap_or_default();
    match find(name).map(|(_, _, test)| test(&folder)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(failed)) => {
            eprintln!("{}", failed.message().unwrap_or("failed"));
            ExitCode::FAILURE
        }
        None => ExitCode::FAILURE,
    }
}

fn find(name: &str) -> Option<(&'static str, &'static str, Test)> {
    ON_MOUNTS.iter().chain(&AS_ROOT).find(|(other, _, _)| *other == name).copied()
}

fn full_disk(folder: &Path) -> Result<(), Failed> {
    let (path, store) = env_file(folder)?;
    let before = std::fs::read(&path)?;
    // Room for less and less: the disk runs full at another call each time.
    let mut refused = 0;
    let ballast = folder.join("ballast");
    for free in (0..=9).rev() {
        fill(&ballast, free)?;
        let mut versioned = read(&store)?;
        let old = shown(&versioned);
        versioned.document.stamp = Some(Stamp(vec![b'x'; 9000]));
        set(&mut versioned, "bbbbbbbb");
        match wait(store.write(&versioned.document, &versioned.revision)) {
            Ok(_) => {
                let mut back = read(&store)?;
                back.document.stamp = None;
                set(&mut back, "aaaaaaaa");
                std::fs::remove_file(&ballast)?;
                wait(store.write(&back.document, &back.revision))?;
            }
            Err(StoreError::Unwritable { source, .. }) => {
                refused += 1;
                let cause = std::error::Error::source(&*source).ok_or("no cause")?.to_string();
                check(cause.contains("No space left"), &cause)?;
                check(shown(&read(&store)?) == old, "the document has changed")?;
                check(std::fs::read(&path)? == before, "the file has changed")?;
                check(temporaries(folder)?.is_empty(), "replacements were left lying")?;
            }
            Err(err) => return Err(format!("{free} free: {err}").into()),
        }
        check(std::fs::read(&path)? == before, "the file is not as it was")?;
    }
    check(refused > 2, "the disk was never full")
}

fn full_disk_after_a_crash(folder: &Path) -> Result<(), Failed> {
    let (_, store) = env_file(folder)?;
    let mut versioned = read(&store)?;
    versioned.document.stamp = Some(Stamp(b"there".to_vec()));
    wait(store.write(&versioned.document, &versioned.revision))?;
    std::fs::write(folder.join(".env.keyroll.0123456789abcdef.main.tmp"), "left by a crash")?;
    fill(&folder.join("ballast"), 0)?;
    check(read(&store)?.document.stamp == Some(Stamp(b"there".to_vec())), "a full disk can be read")?;
    wait(store.sweep())?;
    check(temporaries(folder)?.is_empty(), "a full disk can be swept")
}

fn full_of_files(folder: &Path) -> Result<(), Failed> {
    let (path, store) = env_file(folder)?;
    let before = std::fs::read(&path)?;
    let mut versioned = read(&store)?;
    set(&mut versioned, "bbbbbbbb");
    match wait(store.write(&versioned.document, &versioned.revision)) {
        Err(StoreError::Unwritable { .. }) => {}
        Err(err) => return Err(err.to_string().into()),
        Ok(_) => return Err("there was room for all files".into()),
    }
    check(std::fs::read(&path)? == before, "the file has changed")?;
    check(temporaries(folder)?.is_empty(), "replacements were left lying")
}

fn read_only(folder: &Path) -> Result<(), Failed> {
    let (path, store) = env_file(folder)?;
    for has_hidden in [false, true] {
        let mut versioned = read(&store)?;
        if has_hidden {
            versioned.document.stamp = Some(Stamp(b"there".to_vec()));
            wait(store.write(&versioned.document, &versioned.revision))?;
        }
        check(wait(store.may_write())? == WriteOutlook::Allowed, "nothing stands in the way of a write")?;
        mount(folder, "remount,bind,ro")?;
        check(
            matches!(wait(store.may_write()), Err(StoreError::Unwritable { .. })),
            "it must be said before a write is tried",
        )?;
        let before = std::fs::read(&path)?;
        let mut versioned = read(&store)?;
        let stamp = has_hidden.then(|| Stamp(b"there".to_vec()));
        check(versioned.document.stamp == stamp, "a read-only folder can be read")?;
        wait(store.sweep())?;
        wait(store.now())?;
        set(&mut versioned, "bbbbbbbb");
        match wait(store.write(&versioned.document, &versioned.revision)) {
            Err(err @ StoreError::Unwritable { .. }) => {
                check(err.to_string().contains("what was there is intact"), "it must say that nothing happened")?;
                check(!format!("{err:?}").contains("bbbbbbbb"), "an error holds the key")?;
            }
            Err(err) => return Err(err.to_string().into()),
            Ok(_) => return Err("a read-only folder was written".into()),
        }
        check(std::fs::read(&path)? == before, "the file has changed")?;
        mount(folder, "remount,bind,rw")?;
    }
    Ok(())
}

fn owner(folder: &Path) -> Result<(), Failed> {
    let (path, store) = env_file(folder)?;
    std::os::unix::fs::chown(&path, Some(12345), Some(54321))?;
    for round in 0..3 {
        let mut versioned = read(&store)?;
        set(&mut versioned, &format!("bbbbbbb{round}"));
        wait(store.write(&versioned.document, &versioned.revision))?;
        for name in ["env", ".env.keyroll", ".env.keyroll.lock"] {
            let found = std::fs::metadata(folder.join(name))?;
            check((found.uid(), found.gid()) == (12345, 54321), name)?;
        }
    }
    Ok(())
}

fn stranger(folder: &Path) -> Result<(), Failed> {
    let (_, store) = env_file(folder)?;
    let mut versioned = read(&store)?;
    versioned.document.stamp = Some(Stamp(b"there".to_vec()));
    wait(store.write(&versioned.document, &versioned.revision))?;
    std::os::unix::fs::chown(folder.join(".env.keyroll"), Some(12345), None)?;
    match wait(store.read()) {
        Err(StoreError::Corrupt { .. }) => Ok(()),
        Err(err) => Err(err.to_string().into()),
        Ok(_) => Err("a stranger's candidate was believed".into()),
    }
}

/// A real process, really killed, at moments that nobody chose.
fn killed() -> Result<(), Failed> {
    // In memory where there is one: a kill does not lose what was written, so nothing here depends on the disk's sync.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let rounds = if std::env::var_os("KEYROLL_TEST_DEPTH").is_some_and(|depth| depth == "full") { 1000 } else { 60 };
    let path = folder.path().join("key");
    std::fs::write(&path, "value0000000")?;
    let store = FileStore::new(&path, FieldName("content".into()));
    let mut versioned = read(&store)?;
    versioned.document.stamp = Some(Stamp(b"value0000000".to_vec()));
    wait(store.write(&versioned.document, &versioned.revision))?;
    let (mut in_flight, mut swept, mut round) = (0, 0, 0_u64);
    // On a loaded machine the moments may all fall between two writes: then there are more of them.
    while round < rounds || (swept == 0 && round < 20 * rounds) {
        round += 1;
        let mut child = Command::new(std::env::current_exe()?).env(WRITER, &path).stdout(Stdio::piped()).spawn()?;
        // Its first line says that it writes; from then on any moment will do.
        let mut line = [0; 1];
        std::io::Read::read_exact(child.stdout.as_mut().ok_or("no output")?, &mut line)?;
        std::thread::sleep(std::time::Duration::from_micros(round * 137 % 2500));
        child.kill()?;
        child.wait()?;

        let hidden = std::fs::read_to_string(folder.path().join(".key.keyroll"))?;
        in_flight += u32::from(hidden.contains("\"next\""));
        swept += u32::from(!temporaries(folder.path())?.is_empty());
        let found = shown(&read(&store)?);
        let (content, stamp) = found.split_once(' ').ok_or("no stamp")?;
        check(content == stamp, &format!("the two files are not one document: {found}"))?;
        wait(store.sweep())?;
        check(temporaries(folder.path())?.is_empty(), "replacements were left lying")?;
        check(shown(&read(&store)?) == found, "a sweep has changed the document")?;
    }
    eprintln!(
        "killed {round} times, {in_flight} times with a write in flight, {swept} times with replacements lying about"
    );
    check(swept > 0, "it was never killed in the middle")
}

/// Content and stamp always say the same, in each document that is written.
fn write_forever(path: &Path) -> ExitCode {
    use std::io::Write;
    let store = FileStore::new(path, FieldName("content".into()));
    let mut out = std::io::stdout();
    for count in u64::from(std::process::id()).. {
        let Ok(mut versioned) = read(&store) else { return ExitCode::FAILURE };
        let value = format!("value{count:07}");
        versioned.document.stamp = Some(Stamp(value.clone().into_bytes()));
        versioned.document.fields.0.insert(FieldName("content".into()), Some(Secret::from_text(&value)));
        if wait(store.write(&versioned.document, &versioned.revision)).is_err() {
            return ExitCode::FAILURE;
        }
        // The pipe takes far more than a few milliseconds' worth.
        let _ = out.write_all(b".").and_then(|()| out.flush());
    }
    ExitCode::SUCCESS
}

fn env_file(folder: &Path) -> Result<(PathBuf, EnvFileStore), Failed> {
    let path = folder.join("env");
    std::fs::write(&path, "# shop\nKEY=aaaaaaaa\n")?;
    let store = EnvFileStore::new(&path, vec![FieldName("KEY".into())]);
    Ok((path, store))
}

fn set(versioned: &mut Versioned, value: &str) {
    versioned.document.fields.0.insert(FieldName("KEY".into()), Some(Secret::from_text(value)));
}

/// Leaves `free` pages of the disk.
fn fill(ballast: &Path, free: usize) -> Result<(), Failed> {
    let _ = std::fs::remove_file(ballast);
    let mut file = std::fs::File::create(ballast)?;
    let mut pages = 0_usize;
    while std::io::Write::write_all(&mut file, &[b'b'; 4096]).is_ok() {
        pages += 1;
    }
    file.set_len((pages.saturating_sub(free) * 4096) as u64)?;
    Ok(())
}

fn mount(folder: &Path, options: &str) -> Result<(), Failed> {
    let status = Command::new("mount").args(["-o", options]).arg(folder).status()?;
    check(status.success(), "mount failed")
}

fn read(store: &dyn SecretStore) -> Result<Versioned, Failed> {
    wait(store.read()).map_err(Into::into)
}

/// The first field and the stamp.
fn shown(versioned: &Versioned) -> String {
    let value = versioned.document.fields.0.values().next().and_then(Option::as_ref);
    let value = value.map(|value| String::from_utf8_lossy(value.expose()).into_owned()).unwrap_or_default();
    let stamp = versioned.document.stamp.as_ref().map(|stamp| String::from_utf8_lossy(&stamp.0).into_owned());
    format!("{value} {}", stamp.unwrap_or_default())
}

fn temporaries(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            found.push(path);
        }
    }
    Ok(found)
}

fn check(holds: bool, what: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what.to_owned().into()) }
}

fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    match runtime {
        Ok(runtime) => runtime.block_on(future),
        Err(err) => panic!("no runtime: {err}"),
    }
}

/// Set in a process that runs one test among its own mounts.
const INSIDE: &str = "KEYROLL_TEST_INSIDE";
const FOLDER: &str = "KEYROLL_TEST_FOLDER";

/// Set in a process that is there to be killed.
const WRITER: &str = "KEYROLL_TEST_WRITER";
