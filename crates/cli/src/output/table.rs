//! The picture of a rotation as text: stage, members and keys, who says no. The live view and `status` share it.

use comfy_table::{ContentArrangement, Table};
use keyroll_engine::{Affected, KeyRejected, KeyStatus, MemberStatus, Reach, Status, WaitReport, Who, words};
use keyroll_keyring::KeyState;
use keyroll_rotation::Direction;
use keyroll_rotation::gate::{Answer, Readiness};

/// The whole picture.
pub(crate) fn picture(status: &Status, now: jiff::Timestamp) -> String {
    let mut text = String::new();
    match &status.rotation {
        Some(rotation) => {
            let gate = rotation.gate.map(|gate| format!(" · gate {}", words::gate(gate))).unwrap_or_default();
            let back = match rotation.direction {
                Direction::Forward => "",
                Direction::Back => " · going back",
            };
            text.push_str(&format!(
                "{} · {} · stage {}{back}{gate}\n",
                status.name,
                words::mode(rotation.mode),
                words::stage(rotation.stage),
            ));
            text.push_str(&format!("{} · {} out, {} in\n", rotation.id, rotation.outgoing, rotation.incoming));
            text.push_str(&format!("{}\n", rotation.step));
            if let Some(halt) = &rotation.halt {
                text.push_str(&format!("halted: {halt}\n"));
            }
        }
        None => text.push_str(&format!("{} · no rotation is open\n", status.name)),
    }
    for store in &status.stores {
        if let Some(problem) = &store.problem {
            text.push_str(&format!("store {}: {problem}\n", store.location));
        }
    }
    if !status.keys.is_empty() {
        text.push_str(&keys(&status.keys, now));
    }
    if !status.members.is_empty() {
        text.push_str(&members(&status.members, &status.keys));
    }
    if let Some(wait) = &status.wait {
        text.push_str(&reasons(wait, now));
    }
    if let Some(lock) = &status.lock {
        let since = span(now, lock.since);
        text.push_str(&format!("driver: `{}` on {}, `{}` for {since}\n", lock.holder, lock.host, lock.operation));
    }
    for request in &status.requests {
        text.push_str(&format!("waiting to be taken up: {request}\n"));
    }
    text
}

/// Whom a revocation will hit.
pub(crate) fn affected(affected: &Affected) -> String {
    let mut text = format!("{} members of `{}` will have to reject the key\n", affected.members, affected.name);
    for sessions in &affected.sessions {
        text.push_str(&format!("{}\n", sessions.words));
    }
    text.push_str(&format!("clients notice: {}\n", affected.clients_notice));
    text
}

/// Who was shown to reject a key, one line each.
pub(crate) fn rejected(rejected: &KeyRejected) -> String {
    let shown = rejected.members.iter().take(MOST_ROWS);
    let mut text: String = shown.map(|member| format!("  {member} rejects {}\n", rejected.key)).collect();
    let rest = rejected.members.len().saturating_sub(MOST_ROWS);
    if rest > 0 {
        text.push_str(&format!("  … and {rest} more\n"));
    }
    text
}

/// When it is worth to come back.
pub(crate) fn come_back(at: jiff::Timestamp, now: jiff::Timestamp) -> String {
    if at <= now {
        return "come back at any time\n".to_owned();
    }
    // The next whole second, because who comes too early waits again.
    let whole = jiff::Timestamp::from_second(at.as_second().saturating_add(1)).unwrap_or(at);
    format!("come back at {whole} (in {})\n", span(whole, now))
}

/// Who says no, one line each.
pub(crate) fn reasons(wait: &WaitReport, now: jiff::Timestamp) -> String {
    let mut text = String::new();
    for naysayer in &wait.naysayers {
        text.push_str(&format!("waits for {}: {}", who(naysayer.who), naysayer.text));
        if let Some(until) = naysayer.until.filter(|until| *until > now) {
            text.push_str(&format!(" ({} left)", span(until, now)));
        }
        text.push('\n');
        for member in &naysayer.members {
            let name = member.member.as_deref().or(member.consumer.as_deref()).unwrap_or("the fleet");
            text.push_str(&format!("  {name}: {}\n", member.why));
        }
    }
    text
}

/// The time from `now` to `until`, in whole seconds, as people write it.
pub(crate) fn span(until: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = until.as_second().saturating_sub(now.as_second()).max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

fn keys(keys: &[KeyStatus], now: jiff::Timestamp) -> String {
    let mut table = table();
    table.set_header(["key", "state", "shown", "fingerprint"]);
    for key in keys {
        let fingerprint = key.fingerprint.as_ref().map_or_else(|| "(too weak for one)".to_owned(), ToString::to_string);
        let shown = match key.destroy_after {
            Some(after) => format!("escrow, {}", span(after, now)),
            None => reach(key.reach).to_owned(),
        };
        table.add_row([key.id.to_string(), state(key.state).to_owned(), shown, fingerprint]);
    }
    format!("{table}\n")
}

fn members(members: &[MemberStatus], keys: &[KeyStatus]) -> String {
    let shown: Vec<_> = keys
        .iter()
        .filter(|key| members.iter().any(|member| member.keys.iter().any(|seen| seen.key == key.id)))
        .collect();
    let mut table = table();
    let mut header = vec!["member".to_owned(), "is".to_owned()];
    header.extend(shown.iter().map(|key| key.id.to_string()));
    table.set_header(header);
    for member in members.iter().take(MOST_ROWS) {
        let mut name = member.member.clone();
        if let Some(worker) = &member.worker {
            name.push('/');
            name.push_str(worker);
        }
        let mut row = vec![name, readiness(member.readiness).to_owned()];
        for key in &shown {
            let cell = member.keys.iter().find(|seen| seen.key == key.id);
            row.push(cell.map_or("?", |seen| ability(seen.accepts, seen.mints)).to_owned());
        }
        table.add_row(row);
    }
    let rest = members.len().saturating_sub(MOST_ROWS);
    if rest > 0 { format!("{table}\n… and {rest} more\n") } else { format!("{table}\n") }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn ability(accepts: Answer, mints: Answer) -> &'static str {
    match (accepts, mints) {
        (_, Answer::Yes) => "mints",
        (Answer::Yes, _) => "accepts",
        (Answer::No, _) => "rejects",
        (Answer::Unknown, _) => "?",
    }
}

fn readiness(readiness: Readiness) -> &'static str {
    match readiness {
        Readiness::Ready => "ready",
        Readiness::Unready => "unready",
        Readiness::Terminating => "terminating",
    }
}

fn state(state: KeyState) -> &'static str {
    match state {
        KeyState::PreActivation => "pre-activation",
        KeyState::ActiveForProcessing => "accept-only",
        KeyState::Active => "active",
        KeyState::Deactivated => "deactivated",
        KeyState::Compromised => "compromised",
        KeyState::Destroyed => "destroyed",
        _ => "unknown",
    }
}

fn reach(reach: Reach) -> &'static str {
    match reach {
        Reach::Gone => "gone",
        Reach::StoreOnly => "hidden",
        Reach::Rumoured => "not yet",
        Reach::Everywhere => "everywhere",
    }
}

fn who(who: Who) -> &'static str {
    match who {
        Who::Policy => "policy",
        Who::Safety => "safety",
        Who::Evidence => "evidence",
        Who::Time => "time",
        Who::Human => "a human",
    }
}

/// A fleet of thousands does not fit a screen; JSON has them all.
const MOST_ROWS: usize = 40;
