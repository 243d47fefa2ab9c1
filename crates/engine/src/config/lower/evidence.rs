//! Evidence besides the probe.

use super::super::forms::{Short, Text};
use super::super::written;
use super::super::{
    At, CounterSource, ErrorRateRule, Evidence, LogSource, LogWhere, MetricSource, OnErrors, OrchestratorLevel, Period,
    Report, SourceSpan,
};
use super::Lowering;

impl Lowering<'_> {
    pub(super) fn evidence(&mut self, written: written::Evidence) -> Evidence {
        Evidence {
            report: written.report.and_then(|at| self.report(at)),
            log: written.log.and_then(|at| self.log(at)),
            metric: written.metric.and_then(|at| self.metric(at.value)),
            orchestrator: written.orchestrator.map(|at| match at.value {
                written::Orchestrator::P0 => OrchestratorLevel::P0,
                written::Orchestrator::P1 => OrchestratorLevel::P1,
            }),
            counter: written.counter.and_then(|at| self.counter(at.value)),
            error_rate: written.error_rate.and_then(|at| self.error_rate(at)),
        }
    }

    fn report(&mut self, written: At<Short<Text, written::Report>>) -> Option<Report> {
        let (path, fields) = match written.value {
            Short::Scalar(path) => (Some(At { value: path, span: written.span }), written::Report::default()),
            Short::Fields(mut fields) => (fields.path.take(), *fields),
        };
        let path =
            self.required(path, written.span, "report.path", "nothing says what to ask for", "add `path: /keyroll`");
        let path = path.and_then(|at| self.request_path(at));
        let mut pointer = |written: Option<At<Text>>, default: &str| self.pointer(written, default);
        let active = pointer(fields.active, "/active");
        let accept = pointer(fields.accept, "/accept");
        let loaded_at = pointer(fields.loaded_at, "/loaded_at");
        let boot = pointer(fields.boot, "/boot_id");
        let worker = pointer(fields.worker, "/worker");
        let timeout = self.limit_or(fields.timeout, "report.timeout", DEFAULT_TIMEOUT);
        Some(Report { path: path?, active, accept, loaded_at, boot, worker, timeout })
    }

    fn pointer(&mut self, written: Option<At<Text>>, default: &str) -> String {
        let Some(At { value: Text(text), span }) = written else { return default.to_owned() };
        if !text.starts_with('/') {
            self.refuse(
                span,
                format!("`{text}` is not a JSON pointer"),
                "a pointer begins with `/`, and has one for each step into the answer",
                format!("write `/{}`", text.replace('.', "/")),
            );
        }
        text
    }

    fn log(&mut self, written: At<written::Log>) -> Option<LogSource> {
        let At { value, span } = written;
        let pattern = self.required(
            value.pattern,
            span,
            "log.pattern",
            "nothing says what the line looks like",
            "add it as in `pattern: 'session key loaded: active=(?<active>kf1:[0-9a-f]{32})'`",
        );
        let pattern = pattern.and_then(|at| {
            let span = at.span;
            let pattern = self.pattern(at)?;
            if !pattern.regex().capture_names().flatten().any(|name| name == "active") {
                self.refuse(
                    span,
                    "`log.pattern` has no group `active`",
                    "the fingerprint of the key that mints is taken from it",
                    "put `(?<active>...)` around the fingerprint",
                );
            }
            Some(pattern)
        });
        let source = match (value.file, value.command) {
            (Some(file), None) => self.path(file).map(LogWhere::File),
            (None, Some(command)) => self
                .argv(command, "log.command")
                .map(|argv| LogWhere::Command { argv, working_directory: self.directory(None) }),
            _ => {
                self.refuse(
                    span,
                    "`log` has none or several sources",
                    "the lines of a member come from one place",
                    "write exactly one of `file` and `command`",
                );
                None
            }
        };
        Some(LogSource { pattern: pattern?, source: source? })
    }

    fn metric(&mut self, value: written::Metric) -> Option<MetricSource> {
        let path = self.metrics_path(value.path);
        let name = self.metric_name(value.name, "keyroll_key_info");
        let key_label = self.metric_name(value.key_label, "key");
        let state_label = self.metric_name(value.state_label, "state");
        let timeout = self.limit_or(value.timeout, "metric.timeout", DEFAULT_TIMEOUT);
        Some(MetricSource { path: path?, name: name?, key_label: key_label?, state_label: state_label?, timeout })
    }

    fn counter(&mut self, value: written::Counter) -> Option<CounterSource> {
        let path = self.metrics_path(value.path);
        let name = self.metric_name(value.name, "keyroll_sessions_opened_total");
        let key_label = self.metric_name(value.key_label, "key");
        let every = self.limit_or(value.every, "counter.every", DEFAULT_EVERY);
        let timeout = self.limit_or(value.timeout, "counter.timeout", DEFAULT_TIMEOUT);
        Some(CounterSource { path: path?, name: name?, key_label: key_label?, every, timeout })
    }

    fn error_rate(&mut self, written: At<written::ErrorRate>) -> Option<ErrorRateRule> {
        let At { value, span } = written;
        let path = self.metrics_path(value.path);
        let name = self.metric_name(value.name, "http_requests_total");
        let status_label = self.metric_name(value.status_label, "status");
        let threshold = self.required(
            value.threshold,
            span,
            "errorRate.threshold",
            "nothing says how much is too much",
            "add it as in `threshold: 5 %`",
        );
        let threshold = self.share(threshold, "threshold");
        let over = self.limit_or(value.over, "errorRate.over", DEFAULT_OVER);
        let timeout = self.limit_or(value.timeout, "errorRate.timeout", DEFAULT_TIMEOUT);
        let then = if value.rollback.is_some_and(|at| at.value) { OnErrors::RollBack } else { OnErrors::Halt };
        Some(ErrorRateRule {
            path: path?,
            name: name?,
            status_label: status_label?,
            threshold: threshold?,
            over,
            then,
            timeout,
        })
    }

    fn metrics_path(&mut self, written: Option<At<Text>>) -> Option<String> {
        let default = || At { value: Text("/metrics".to_owned()), span: SourceSpan::default() };
        let path = written.unwrap_or_else(default);
        self.request_path(path)
    }

    fn metric_name(&mut self, written: Option<At<Text>>, default: &str) -> Option<String> {
        let Some(At { value: Text(text), span }) = written else { return Some(default.to_owned()) };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        if text.is_empty() || !text.chars().all(legal) || text.starts_with(|c: char| c.is_ascii_digit()) {
            self.refuse(
                span,
                format!("{} is not a name of a metric or label", super::super::error::quoted(&text)),
                "such a name has letters, digits, `_` and `:` only; labels are not selected here",
                format!("write it as in `{default}`"),
            );
            return None;
        }
        Some(text)
    }
}

const DEFAULT_TIMEOUT: Period = Period::seconds(5);
const DEFAULT_EVERY: Period = Period::seconds(15);
const DEFAULT_OVER: Period = Period::minutes(1);
