//! Stages, modes and gates as commands, files and people write them. One table, so that a name is never spelled twice.

use keyroll_rotation::gate::GateName;
use keyroll_rotation::{Direction, Mode, Stage};

/// The stage as `--until` and `status` write it.
pub fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Planned => "planned",
        Stage::Staged => "staged",
        Stage::Accepting => "accepting",
        Stage::Promoting => "promoting",
        Stage::Draining => "draining",
        Stage::Retiring => "retiring",
        Stage::Closing => "closing",
        Stage::Escrow => "escrow",
        Stage::Finished => "finished",
        Stage::Withdrawing => "withdrawing",
        Stage::CuttingOver => "cutting-over",
    }
}

/// The stage that `text` names.
pub fn parse_stage(text: &str) -> Option<Stage> {
    ALL_STAGES.into_iter().find(|candidate| stage(*candidate) == text)
}

/// The mode as `--mode` writes it.
pub fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Staged => "staged",
        Mode::Cutover => "cutover",
        Mode::Accelerated => "accelerated",
        Mode::HardCutover => "hard-cutover",
        Mode::Standby => "standby",
        _ => "unknown",
    }
}

/// The direction in one word.
pub fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "forward",
        Direction::Back => "back",
    }
}

/// The gate as the protocol names it.
pub fn gate(gate: GateName) -> &'static str {
    match gate {
        GateName::G1 => "G1",
        GateName::G2 => "G2",
        GateName::G3 => "G3",
    }
}

const ALL_STAGES: [Stage; 11] = [
    Stage::Planned,
    Stage::Staged,
    Stage::Accepting,
    Stage::Promoting,
    Stage::Draining,
    Stage::Retiring,
    Stage::Closing,
    Stage::Escrow,
    Stage::Finished,
    Stage::Withdrawing,
    Stage::CuttingOver,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_is_found_again_by_its_name() {
        for candidate in ALL_STAGES {
            assert_eq!(parse_stage(stage(candidate)), Some(candidate));
        }
    }
}
