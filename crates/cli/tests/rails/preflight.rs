//! What preflight finds before anything is written: a wrong description of the sessions, and each mistake of the project.
//!
//! The application is sound here. It is the file, or a copy of its sources, that is wrong.

use std::fs;

use crate::lab::{Lab, Ran, example};

/// Each wrong description of the sessions is one finding, with the field that is wrong.
pub(crate) fn wrong_descriptions(lab: &mut Lab) -> Result<(), String> {
    for (right, wrong, fields) in [
        ("digest: sha1", "digest: sha256", "wrong about `profile.digest` (now `sha256`) and `profile.salt`"),
        ("digest: sha1", "digest: sha1, salt: other", "and `profile.salt` (now `other`): the cookie's name is right"),
        ("_shop_session", "_app_session", "wrong about `profile.cookie` (now `_app_session`), then"),
    ] {
        let preflight = with(lab, right, wrong, |lab| lab.keyroll(&["preflight"]))?;
        preflight.exits(4)?;
        preflight.says(fields)?;
        preflight
            .says("[web-1, web-2, web-3]: a session under k1, which is in use, was sent and answered like one under")?;
        preflight.says_once("unknown probe.")?;
        preflight.does_not_say("--evidence weak")?;
    }
    Ok(())
}

/// Each mistake of a project is found by `lint` and by preflight, and `rotate` does not begin.
pub(crate) fn mistakes_of_the_project(lab: &mut Lab) -> Result<(), String> {
    let project = lab.folder().join("project");
    let (initializer, secrets) = (project.join("keyroll.rb"), project.join("secrets.yml"));
    fs::create_dir_all(&project).map_err(|err| err.to_string())?;
    let before = fs::read(lab.folder().join("shop.env")).map_err(|err| err.to_string())?;
    for (ruby, yaml, finding) in [
        (None, None, "nothing in the application uses `cookies_rotations`"),
        (Some("faults/wrong_salt.rb"), None, "the salt of the older CBC cookies"),
        (Some("faults/wrong_digest.rb"), None, "the digest of the derivation is fixed here"),
        (Some("faults/signed_not_rotated.rb"), None, "encrypted cookies are rotated and signed ones are not"),
        (Some("keyroll_initializer.rb"), Some("faults/secrets_without_erb.yml"), "ERB tags are missing"),
        (Some("keyroll_initializer.rb"), Some("faults/old_and_new_equal.yml"), "are read from the same place"),
    ] {
        for (source, target) in [(ruby, &initializer), (yaml, &secrets)] {
            match source {
                Some(source) => drop(fs::copy(example().join(source), target).map_err(|err| err.to_string())?),
                None => drop(fs::remove_file(target)),
            }
        }
        with(lab, "  store:", "  project: project\n  store:", |lab| {
            for (command, exit) in [("lint", 1), ("preflight", 4), ("rotate", 4)] {
                let ran = lab.keyroll(&[command]);
                ran.exits(exit)?;
                ran.says(finding)?;
            }
            // A cutover needs no second key.
            let plan = lab.keyroll(&["plan", "--mode", "cutover"]);
            plan.exits(2)
        })??;
    }
    fs::remove_file(&secrets).map_err(|err| err.to_string())?;
    with(lab, "  store:", "  project: project\n  store:", |lab| lab.keyroll(&["preflight"]).exits(0))??;
    match fs::read(lab.folder().join("shop.env")) {
        Ok(after) if after == before => Ok(()),
        _ => Err("preflight changed the store".to_owned()),
    }
}

/// Runs `act` while the file says `wrong` instead of `right`.
fn with<T>(lab: &mut Lab, right: &str, wrong: &str, act: impl FnOnce(&mut Lab) -> T) -> Result<T, String> {
    let file = lab.folder().join("keyroll.yaml");
    let text = fs::read_to_string(&file).map_err(|err| err.to_string())?;
    if !text.contains(right) {
        return Err(format!("the file does not say `{right}`"));
    }
    fs::write(&file, text.replacen(right, wrong, 1)).map_err(|err| err.to_string())?;
    let acted = act(lab);
    fs::write(&file, text).map_err(|err| err.to_string())?;
    Ok(acted)
}

impl Ran {
    fn says_once(&self, words: &str) -> Result<(), String> {
        match self.said()?.matches(words).count() {
            1 => Ok(()),
            count => Err(format!("it should say `{words}` once, and says it {count} times: {}", self.said()?)),
        }
    }

    fn does_not_say(&self, words: &str) -> Result<(), String> {
        let said = self.said()?;
        if said.contains(words) { Err(format!("it should not say `{words}`: {said}")) } else { Ok(()) }
    }
}
