//! The text that `init` writes. Each template is a complete file; its comments are the short form of the book.

use keyroll_keyring::profile::Initializer;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, context};

use super::Answers;
use super::detect::{Found, Framework};
use crate::exit::Exit;
use crate::failure::Failure;

/// The file for `found`.
pub(crate) fn render(found: &Found, answers: &Answers, initializer: Option<&Initializer>) -> Result<String, Failure> {
    let mut environment = Environment::new();
    let failed = |err: minijinja::Error| Failure::from_error(Exit::Failed, &err);
    let syntax = SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).build().map_err(failed)?;
    environment.set_syntax(syntax);
    environment.add_template("keyroll.yaml", TEMPLATE).map_err(failed)?;
    let template = environment.get_template("keyroll.yaml").map_err(failed)?;
    template
        .render(context! {
            name => &answers.name,
            env_file => serde_json::to_string(&answers.env_file.to_string_lossy()).unwrap_or_default(),
            title => found.framework.title(),
            framework => found.framework.name(),
            seen => &found.seen,
            cookie => &found.cookie,
            digest => found.digest,
            usual_cookie => found.usual_cookie.as_deref().unwrap_or_else(|| usual_cookie(found.framework)),
            is_default => found.usual_cookie.is_some(),
            initializer => initializer.map(|one| one.path.as_str()),
            minted => found.framework == Framework::Rails,
        })
        .map_err(failed)
}

/// The session cookie that the framework sets, unless the application names its own.
fn usual_cookie(framework: Framework) -> &'static str {
    match framework {
        Framework::Rails => "_app_session",
        Framework::Django => "sessionid",
        Framework::Flask => "session",
        Framework::Express => "connect.sid",
    }
}

const TEMPLATE: &str = include_str!("keyroll.yaml.j2");
