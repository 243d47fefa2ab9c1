//! The command line as people type it. What is not finished is not here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Rotates the keys behind web sessions, under a live fleet, and logs nobody out.
#[derive(Debug, Parser)]
#[command(name = "keyroll", version, about, max_term_width = 110)]
#[command(
    after_help = "To see it work: keyroll demo. For your own application, in this order: init, lint, preflight, plan,\nrotate. Nothing is written to the key's store before `rotate`.\n\nExit codes: 0 done · 2 a plan has changes · 3 waiting at a gate · 4 preflight failed · 5 drift\n6 locked by another · 7 rolled back · 8 a human must decide · 64 usage\n130 interrupted, resumable · 1 other"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// The configuration file
    #[arg(short, long, global = true, help_heading = EVERYWHERE, default_value = "keyroll.yaml", value_name = "FILE", env = "KEYROLL_CONFIG")]
    pub(crate) config: PathBuf,
    /// How results are printed: `text` for people, or `json`, where each document has a `schema_version`
    #[arg(long, global = true, help_heading = EVERYWHERE, value_enum, default_value_t = Format::Text, hide_possible_values = true)]
    pub(crate) format: Format,
    /// Where the journal lives [default: $XDG_STATE_HOME/keyroll]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", env = "KEYROLL_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Who drives, for the lock and the audit record [default: the user's name]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "NAME", env = "KEYROLL_OPERATOR", value_parser = operator)]
    pub(crate) operator: Option<String>,
    /// Log what is done on standard error: each effect and gate; twice, each member's answer too
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// JSON with a `schema_version`; one document, or one a line where a command reports progress.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a keyroll.yaml for the project in this folder
    Init(InitArgs),
    /// Check the configuration file and the project for well-known mistakes
    Lint(LintArgs),
    /// Check all that a rotation needs, on every process; nothing is written
    Preflight,
    /// Show every write, reload and gate of a rotation, in order; nothing is written
    Plan(PlanArgs),
    /// Rotate the key; interrupt it whenever you like, the same command goes on
    Rotate(RotateArgs),
    /// Show where the rotation stands
    Status(StatusArgs),
    /// Say why it waits, and for whom: policy, safety, evidence, time or a human
    Explain,
    /// Take an open rotation to its end; after escrow, destroy the old key
    Complete(CompleteArgs),
    /// Let the rotation stand still before its next step
    Pause(Reasons),
    /// Let a rotation go on that was paused, or that halted for a person
    Resume(ResumeArgs),
    /// Go back to the key that the rotation began with, without losing a session
    Rollback(RollbackArgs),
    /// A key has leaked: make every process reject it; its sessions end
    Revoke(RevokeArgs),
    /// Reload processes once more, because they did not take up the key
    Reload(ReloadArgs),
    /// Ask every process now which keys it accepts and rejects; nothing is written
    Verify,
    /// What was rotated, when, by whom and why
    History,
    /// Verify or export the audit record
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Take the lock from an operator whose machine is gone for good
    Unlock(UnlockArgs),
    /// Try this configuration over a simulated fleet, thousands of times
    Simulate(SimulateArgs),
    /// Watch a key being rotated under real processes with users on them
    Demo(DemoArgs),
    /// Generate and fingerprint keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Mint, open, re-seal and inspect session tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Why something is done, for the audit record.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Reasons {
    /// Why, in the auditors' words [default: scheduled, for `revoke` compromise]
    #[arg(long, value_enum, value_name = "WHY")]
    pub(crate) reason: Option<Reason>,
    /// The ticket that asks for it
    #[arg(long, value_name = "ID")]
    pub(crate) ticket: Option<String>,
    /// A sentence for the record; never a secret
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

/// The reasons that auditors ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Reason {
    /// The policy's period is over.
    Scheduled,
    /// Something happened.
    Incident,
    /// A key may be in other hands.
    Compromise,
    /// Somebody left.
    Personnel,
    /// An auditor asked.
    Audit,
}

#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// The project's folder
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// The framework, instead of detecting it from the project's files
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The environment file that holds the key
    #[arg(long, value_name = "PATH")]
    pub(crate) env_file: Option<PathBuf>,
    /// The key's name in the file, the journal and the lock [default: the folder's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Replace an existing file
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PlanArgs {
    /// How to go about it [default: staged]
    #[arg(long, value_enum)]
    pub(crate) mode: Option<PlannedMode>,
    /// Save the plan, for `keyroll rotate PLAN`
    #[arg(short, long, value_name = "PLAN")]
    pub(crate) output: Option<PathBuf>,
}

/// The modes of a planned rotation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum PlannedMode {
    /// Accept first, then mint: nobody is logged out
    Staged,
    /// One write: every session ends; `rollback` goes back while the old key is in escrow
    Cutover,
}

#[derive(Args, Debug)]
pub(crate) struct RotateArgs {
    /// A saved plan; a stale one is refused with the difference
    pub(crate) plan: Option<PathBuf>,
    /// How to go about it [default: staged; an open rotation keeps its own, a plan has one]
    #[arg(long, value_enum, conflicts_with = "plan")]
    pub(crate) mode: Option<PlannedMode>,
    /// Stop when this stage is done and proven, before the next one (exit 3)
    #[arg(long, value_name = "STAGE", value_enum)]
    pub(crate) until: Option<UntilStage>,
    /// Gives up the window of the policy: begin now, although it is closed
    #[arg(long)]
    pub(crate) outside_window: bool,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    #[command(flatten)]
    pub(crate) reasons: Reasons,
}

/// The stages at which a rotation may be told to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum UntilStage {
    /// The new key is stored, hidden from applications
    Staged,
    /// Every process accepts both keys (G1)
    Accepting,
    /// Every process mints under the new key (G2)
    Promoting,
    /// The sessions under the old key have run out
    Draining,
    /// Every process rejects the old key (G3)
    Retiring,
}

/// Waiting, and the overrides; each says what it gives up, and is audited.
#[derive(Args, Debug, Default)]
pub(crate) struct Overrides {
    /// How long to wait in all, such as `30m`, or `none`; then exit 3 [default: as long as it takes]
    #[arg(long, value_name = "DURATION")]
    pub(crate) wait: Option<String>,
    /// Gives up sessions: end the drain although they were opened up to N times under the old key; at most N are lost
    #[arg(long, value_name = "N")]
    pub(crate) accept_loss: Option<u64>,
    /// Drain this much longer
    #[arg(long, value_name = "DURATION")]
    pub(crate) extend_drain: Option<String>,
    /// Gives up proof: let this rotation's gates pass on less than an active probe
    #[arg(long, value_name = "RULE", value_enum)]
    pub(crate) evidence: Option<EvidenceChoice>,
}

/// The weakest proof that a gate takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum EvidenceChoice {
    /// What the file names is enough: self-reports, start times
    Weak,
}

#[derive(Args, Debug)]
pub(crate) struct CompleteArgs {
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    #[command(flatten)]
    pub(crate) reasons: Reasons,
}

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Stay and show every change
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ResumeArgs {
    /// Gives up what somebody else wrote: write what should be there over it, and prove everything again
    #[arg(long)]
    pub(crate) overwrite_foreign_write: bool,
    /// Gives up the stage that was reached: go on from what somebody else wrote; the safe way once processes have read it
    #[arg(long, conflicts_with = "overwrite_foreign_write")]
    pub(crate) adopt_foreign_write: bool,
    #[command(flatten)]
    pub(crate) reasons: Reasons,
}

#[derive(Args, Debug)]
pub(crate) struct RollbackArgs {
    /// Your own copy of the old key as its field held it, checked by fingerprint; `-` reads standard input
    #[arg(long, value_name = "FILE|-")]
    pub(crate) key_from: Option<String>,
    /// How long to wait in all, such as `30m`, or `none`; then exit 3 [default: as long as it takes]
    #[arg(long, value_name = "DURATION")]
    pub(crate) wait: Option<String>,
    /// Gives up proof: let this rotation's gates pass on less than an active probe
    #[arg(long, value_name = "RULE", value_enum)]
    pub(crate) evidence: Option<EvidenceChoice>,
    #[command(flatten)]
    pub(crate) reasons: Reasons,
}

#[derive(Args, Debug)]
pub(crate) struct RevokeArgs {
    /// How fast
    #[arg(long, value_enum)]
    pub(crate) mode: RevokeMode,
    /// Which key leaked, if a rotation is open; otherwise it is the key in use
    #[arg(long, value_enum, default_value_t = Leaked::Old)]
    pub(crate) leaked: Leaked,
    /// Whether the store itself may have leaked; then candidate and standby count as leaked too, and a fresh key is made
    #[arg(long, value_enum, default_value_t = StoreLeak::Yes)]
    pub(crate) store_leaked: StoreLeak,
    /// Do it without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// Gives up proof: let this emergency's gates pass on less than an active probe
    #[arg(long, value_name = "RULE", value_enum)]
    pub(crate) evidence: Option<EvidenceChoice>,
    #[command(flatten)]
    pub(crate) reasons: Reasons,
}

/// How an emergency goes about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum RevokeMode {
    /// The new key is accepted everywhere first, then one write
    Accelerated,
    /// One write, everybody reloads at once
    HardCutover,
}

/// Which key leaked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Leaked {
    /// The key in use before the rotation
    Old,
    /// The candidate
    New,
    /// Both
    Both,
}

/// Whether the leak may include the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum StoreLeak {
    /// It may
    Yes,
    /// It certainly does not
    No,
}

#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("whom").required(true).args(["laggards", "member"])))]
pub(crate) struct ReloadArgs {
    /// Every process that the last sweep could not prove
    #[arg(long)]
    pub(crate) laggards: bool,
    /// This one, by the name that `status` shows
    #[arg(long, value_name = "NAME")]
    pub(crate) member: Option<String>,
    #[command(flatten)]
    pub(crate) reasons: Reasons,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Recompute the chain and compare it with the anchors in the stores
    Verify,
    /// Write the record in a format that people keep
    Export {
        /// The format
        #[arg(id = "as", long = "as", value_name = "FORMAT", value_enum, default_value_t = ExportFormat::Markdown)]
        format: ExportFormat,
    },
}

/// Formats of the exported record.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON document
    Json,
    /// One row an entry
    Csv,
    /// For a wiki or a ticket
    Markdown,
}

#[derive(Args, Debug)]
pub(crate) struct UnlockArgs {
    /// The rotation whose lock it is, as the error named it
    #[arg(long, value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) reasons: Reasons,
}

#[derive(Args, Debug)]
pub(crate) struct SimulateArgs {
    /// How many virtual runs
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) runs: u64,
    /// Processes in the simulated fleet, up to 1000 [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) members: Option<u32>,
    /// Crashes, stale boots, slow members and a foreign writer
    #[arg(long)]
    pub(crate) chaos: bool,
    /// The first seed; run K uses seed + K
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Then do what five real runbooks do, on the same fleet
    #[arg(long)]
    pub(crate) compare: bool,
    /// Users on the fleet
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(50..=500))]
    pub(crate) users: u32,
    /// Replicas of the application
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=9))]
    pub(crate) replicas: u32,
    /// The seed of the users' behaviour
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Args, Debug)]
pub(crate) struct LintArgs {
    /// Also check the source files of the project in this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) project: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Print a new key in the profile's encoding; to a pipe or a file, never to a terminal unless told
    Generate {
        /// For which framework
        #[arg(long, default_value = "rails")]
        profile: String,
        /// Write it to this new file (mode 0600) instead of standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Print it even to a terminal, where scrollback keeps it
        #[arg(long)]
        to_terminal: bool,
    },
    /// Print the fingerprint of a key
    Fingerprint {
        #[command(flatten)]
        key: KeySource,
        /// How the key is written
        #[arg(long, value_enum, default_value_t = Encoding::Text)]
        encoding: Encoding,
    },
}

/// Where a key comes from. Never the command line itself.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct KeySource {
    /// Read the key from this file; `-` reads standard input
    #[arg(long, value_name = "FILE|-")]
    pub(crate) key_file: Option<String>,
    /// Read the key from this environment variable
    #[arg(long, value_name = "NAME")]
    pub(crate) key_env: Option<String>,
}

/// How a key is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Encoding {
    /// The text is the key (Rails)
    Text,
    /// Hexadecimal digits
    Hex,
    /// Standard base64
    Base64,
    /// URL-safe base64
    Base64url,
    /// The bytes are the key
    Raw,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Mint a session under a key
    Mint {
        #[command(flatten)]
        codec: CodecArgs,
        #[command(flatten)]
        key: KeySource,
        /// The serialised session, from a file or `-`
        #[arg(long, value_name = "FILE|-")]
        payload: String,
        /// How long it lives, where the format can say so
        #[arg(long, value_name = "DURATION")]
        lifetime: Option<String>,
        /// The key's id in the ring, which a sealed token names
        #[arg(long, value_name = "N", default_value_t = 1)]
        key_id: u32,
    },
    /// Open a token, or say why not
    Open {
        #[command(flatten)]
        codec: CodecArgs,
        #[command(flatten)]
        key: KeySource,
        /// The token, from a file or `-`
        #[arg(long, value_name = "FILE|-", default_value = "-")]
        token: String,
    },
    /// Seal a token again under another key; its times are kept
    Reseal {
        #[command(flatten)]
        codec: CodecArgs,
        #[command(flatten)]
        key: KeySource,
        /// The key to seal under, from a file
        #[arg(long, value_name = "FILE")]
        to_key_file: String,
        /// That key's id in the ring, which a sealed token names
        #[arg(long, value_name = "N", default_value_t = 2)]
        to_key_id: u32,
        /// The token, from a file or `-`
        #[arg(long, value_name = "FILE|-", default_value = "-")]
        token: String,
    },
    /// Say what can be read of a token without a key
    Inspect {
        /// The token, from a file or `-`
        #[arg(long, value_name = "FILE|-", default_value = "-")]
        token: String,
    },
}

/// Which format, with its parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct CodecArgs {
    /// The codec: `rails` or `sealed`
    #[arg(long, default_value = "rails")]
    pub(crate) codec: String,
    /// A parameter of the codec, such as `cookie=_app_session` or `digest=sha256`; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) parameters: Vec<String>,
    /// How the keys are written
    #[arg(long, value_enum, default_value_t = Encoding::Text)]
    pub(crate) encoding: Encoding,
}

/// Somebody has to stand in the record.
fn operator(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("the record has to say who drives; leave it out for the user's name".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// Above the options that every command takes, so that its own stand apart.
const EVERYWHERE: &str = "Options of every command";
