//! What the binary costs: its size, its start, and how many rotations of a configuration it simulates in a second.
//!
//! Prints one line each, `NAME VALUE UNIT limit LIMIT`. It never fails; it is no test.

#![expect(clippy::print_stdout, reason = "its lines are its result")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(clippy::unwrap_used, reason = "a measurement, not a library")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

fn main() {
    let binary = Path::new(env!("CARGO_BIN_EXE_keyroll"));
    println!("binary_size {:.1} MiB limit 25", binary.metadata().unwrap().len() as f64 / 1_048_576.0);

    let mut starts: Vec<f64> = (0..STARTS)
        .map(|_| {
            let start = Instant::now();
            assert!(Command::new(binary).arg("--help").stdout(Stdio::null()).status().unwrap().success());
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    starts.sort_by(f64::total_cmp);
    println!("start_to_help {:.1} ms limit 15", starts[STARTS / 2]);

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("keyroll.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    let output = Command::new(binary)
        .args(["simulate", "--chaos", "--runs", "20000", "--format", "json", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rate = document["runs"].as_f64().unwrap() / document["seconds"].as_f64().unwrap();
    println!("simulate {rate:.0} schedules/s over {} members with chaos", document["members"]);
}

const STARTS: usize = 101;

const CONFIG: &str = r#"apiVersion: keyroll.dev/v1alpha1
kind: SessionKey
metadata: { name: shop }
spec:
  profile: { name: rails, cookie: _shop_session }
  store: { envFile: { path: shop.env } }
  consumers:
    - command: { list: [./fleet, list], reload: [./fleet, reload, "{member}"] }
  sessions: { maxLifetime: 3h, drain: lifetime }
  probe: { path: /me, accepted: { reissue: true } }
"#;
