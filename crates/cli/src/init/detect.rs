//! Which framework a folder holds, by the files that every project of its kind has.

use std::path::Path;

/// A framework that `init` writes a file for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framework {
    Rails,
    Django,
    Flask,
    Express,
}

/// A framework, and what gave it away.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) framework: Framework,
    pub(crate) seen: String,
    /// The session cookie, where the project names it.
    pub(crate) cookie: Option<String>,
    /// The name that the framework gives it by itself, where the project tells.
    pub(crate) usual_cookie: Option<String>,
    /// Rails' digest for derived keys, where the project's defaults tell it.
    pub(crate) digest: Option<&'static str>,
}

impl Found {
    /// A framework that the command line named.
    pub(crate) fn told(framework: Framework) -> Self {
        Self { framework, seen: "named on the command line".to_owned(), cookie: None, usual_cookie: None, digest: None }
    }
}

impl Framework {
    const ALL: [Self; 4] = [Self::Rails, Self::Django, Self::Flask, Self::Express];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|framework| framework.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rails => "rails",
            Self::Django => "django",
            Self::Flask => "flask",
            Self::Express => "express",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Rails => "Rails",
            Self::Django => "Django",
            Self::Flask => "Flask",
            Self::Express => "Express",
        }
    }

    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// Every framework whose files stand in `folder`.
pub(crate) fn detect(folder: &Path) -> Vec<Found> {
    [rails(folder), django(folder), flask(folder), express(folder)].into_iter().flatten().collect()
}

fn rails(folder: &Path) -> Option<Found> {
    let gems = read(folder, "Gemfile.lock").or_else(|| read(folder, "Gemfile"));
    let application = read(folder, "config/application.rb");
    let has_gem = gems.as_deref().is_some_and(|text| {
        text.lines().any(|line| {
            let line = line.trim_start();
            ["rails (", "actionpack (", "railties (", "gem \"rails\"", "gem 'rails'"]
                .iter()
                .any(|sign| line.starts_with(sign))
        })
    });
    let seen = match (&application, has_gem) {
        (Some(_), true) => "config/application.rb and the Gemfile",
        (Some(_), false) => "config/application.rb",
        (None, true) => "the Gemfile",
        (None, false) => return None,
    };
    let store = read(folder, "config/initializers/session_store.rb");
    let cookie = store
        .as_deref()
        .and_then(|text| after(text, "key:"))
        .or_else(|| application.as_deref().and_then(|text| after(text, "key:")));
    let digest = application.as_deref().and_then(|text| {
        let version =
            text.split("load_defaults").nth(1)?.trim_start().split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let major: u32 = version.split('.').next()?.parse().ok()?;
        Some(if major >= 7 { "sha256" } else { "sha1" })
    });
    let usual_cookie =
        application.as_deref().and_then(module).map(|module| format!("_{}_session", underscored(&module)));
    Some(Found { framework: Framework::Rails, seen: seen.to_owned(), cookie, usual_cookie, digest })
}

fn django(folder: &Path) -> Option<Found> {
    let manage = read(folder, "manage.py").is_some_and(|text| text.contains("DJANGO_SETTINGS_MODULE"));
    let seen = if manage { "manage.py".to_owned() } else { requirement(folder, "django")? };
    Some(Found { framework: Framework::Django, seen, cookie: None, usual_cookie: None, digest: None })
}

fn flask(folder: &Path) -> Option<Found> {
    let app = ["app.py", "wsgi.py"].into_iter().find(|name| {
        read(folder, name).is_some_and(|text| text.contains("from flask import") || text.contains("import flask"))
    });
    let seen = match app {
        Some(name) => name.to_owned(),
        None => requirement(folder, "flask")?,
    };
    Some(Found { framework: Framework::Flask, seen, cookie: None, usual_cookie: None, digest: None })
}

fn express(folder: &Path) -> Option<Found> {
    let package: serde_json::Value = serde_json::from_str(&read(folder, "package.json")?).ok()?;
    let dependencies = package.get("dependencies")?.as_object()?;
    let session =
        ["express-session", "cookie-session", "express"].into_iter().find(|name| dependencies.contains_key(*name))?;
    Some(Found {
        framework: Framework::Express,
        seen: format!("`{session}` in package.json"),
        cookie: None,
        usual_cookie: None,
        digest: None,
    })
}

/// The file in which a Python project asks for `package`.
fn requirement(folder: &Path, package: &str) -> Option<String> {
    let asks = |text: &str| {
        text.lines().any(|line| {
            let line = line.trim().trim_matches(['"', '\'', ',']).to_lowercase();
            line.strip_prefix(package)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_'))
        })
    };
    ["requirements.txt", "pyproject.toml", "Pipfile"]
        .into_iter()
        .find(|name| read(folder, name).is_some_and(|text| asks(&text)))
        .map(str::to_owned)
}

/// The quoted text after `sign`.
fn after(text: &str, sign: &str) -> Option<String> {
    let rest = text.split(sign).nth(1)?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let value = rest[1..].split(quote).next()?;
    (!value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
        .then(|| value.to_owned())
}

/// The name of the application's module, as `module Shop` writes it.
fn module(text: &str) -> Option<String> {
    let name = text.lines().find_map(|line| line.trim_start().strip_prefix("module "))?.trim();
    let legal = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
    legal.then(|| name.to_owned())
}

/// As Rails makes `my_shop` of `MyShop`, and `html_shop` of `HTMLShop`.
fn underscored(name: &str) -> String {
    let letters: Vec<char> = name.replace("::", "_").chars().collect();
    let mut text = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| letters[index]);
        let begins_word = letter.is_ascii_uppercase()
            && before.is_some_and(|before| {
                let ends_word = before.is_ascii_lowercase() || before.is_ascii_digit();
                let next_is_lower = letters.get(index + 1).is_some_and(char::is_ascii_lowercase);
                ends_word || (before.is_ascii_uppercase() && next_is_lower)
            });
        if begins_word {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// A file of the project, if it is text of a sane size.
fn read(folder: &Path, name: &str) -> Option<String> {
    let path = folder.join(name);
    let small = std::fs::metadata(&path).is_ok_and(|data| data.is_file() && data.len() < MOST_BYTES);
    if small { std::fs::read_to_string(path).ok() } else { None }
}

/// Longer files are not the ones that we look for.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn names(files: &[(&str, &str)]) -> Vec<&'static str> {
        detect(project(files).path()).iter().map(|found| found.framework.name()).collect()
    }

    #[test]
    fn rails_shows_itself_with_cookie_and_digest() {
        let dir = project(&[
            ("config/application.rb", "module Shop\n class Application\n  config.load_defaults 7.1\n end\nend\n"),
            (
                "config/initializers/session_store.rb",
                "Rails.application.config.session_store :cookie_store, key: '_shop'\n",
            ),
            ("Gemfile.lock", "GEM\n  specs:\n    rails (7.1.5)\n"),
        ]);
        let found = detect(dir.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].framework, Framework::Rails);
        assert_eq!(found[0].cookie.as_deref(), Some("_shop"));
        assert_eq!(found[0].digest, Some("sha256"));
    }

    #[test]
    fn without_a_name_of_its_own_the_cookie_has_the_one_that_rails_makes_of_the_module() {
        for (module, cookie) in [
            ("Shop", "_shop_session"),
            ("MyShop", "_my_shop_session"),
            ("HTMLShop2Go", "_html_shop2_go_session"),
            ("Admin::Shop", "_admin_shop_session"),
        ] {
            let text = format!("require \"rails/all\"\n\nmodule {module}\n  class Application\n");
            let found = detect(project(&[("config/application.rb", &text)]).path());
            assert_eq!((found[0].cookie.as_deref(), found[0].usual_cookie.as_deref()), (None, Some(cookie)));
        }
    }

    #[test]
    fn old_defaults_mean_the_old_digest() {
        let dir = project(&[("config/application.rb", "config.load_defaults 6.1\n")]);
        assert_eq!(detect(dir.path())[0].digest, Some("sha1"));
    }

    #[test]
    fn python_and_node_projects_show_themselves() {
        assert_eq!(
            names(&[("manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')")]),
            ["django"]
        );
        assert_eq!(names(&[("requirements.txt", "Django>=5\n")]), ["django"]);
        assert_eq!(names(&[("requirements.txt", "flask==3.1.1\n")]), ["flask"]);
        assert_eq!(names(&[("app.py", "from flask import Flask\n")]), ["flask"]);
        assert_eq!(names(&[("package.json", r#"{"dependencies":{"express-session":"^1"}}"#)]), ["express"]);
    }

    #[test]
    fn what_only_looks_alike_is_not_taken() {
        assert_eq!(names(&[("requirements.txt", "django-filter\nflask_cors\n")]), Vec::<&str>::new());
        assert_eq!(names(&[("package.json", "{ broken")]), Vec::<&str>::new());
        assert_eq!(names(&[]), Vec::<&str>::new());
    }

    #[test]
    fn several_frameworks_in_one_folder_are_all_named() {
        assert_eq!(
            names(&[("Gemfile", "gem \"rails\", \"~> 7\"\n"), ("package.json", r#"{"dependencies":{"express":"4"}}"#)]),
            ["rails", "express"]
        );
    }
}
