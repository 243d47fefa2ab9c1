//! Profiles as a whole: what they render, read back, refuse and find.

use super::*;

fn field(name: &str) -> FieldName {
    FieldName(name.to_owned())
}

fn text(fields: &Fields, name: &str) -> Option<String> {
    fields.0[&field(name)].as_ref().map(|secret| secret.expose_text().expect("text").to_owned())
}

#[test]
fn every_builtin_profile_and_variant_parses_and_makes_keys_that_it_accepts_and_reads_back() {
    let names = Profile::names();
    assert_eq!(names, ["django", "django/signed-cookies", "express", "flask", "keyroll", "rails", "rails/single-slot"]);
    for name in names {
        let profile = Profile::builtin(&name).expect("a builtin profile");
        assert_eq!(profile.name(), name);
        let (first, second) =
            (profile.candidate(KeyId(1)).expect("a key"), profile.candidate(KeyId(2)).expect("a key"));
        assert!(!first.shares_material(&second));
        for (active, other) in [(&first, &second), (&second, &first)] {
            let fields = profile.render(&Configuration { active, accept_only: vec![other] }).expect("fields");
            assert!(profile.fields().iter().all(|field| fields.0.contains_key(field)));
            let parsed = profile.parse(&fields).expect("a configuration");
            assert!(parsed.active.parts[0].material.ct_eq(active.material()));
            assert_eq!(parsed.accept_only.len(), 1);
            assert!(parsed.accept_only[0].parts[0].material.ct_eq(other.material()));
            assert_eq!(profile.lint_fields(&fields), []);
        }
    }
}

#[test]
fn rails_keys_are_128_hexadecimal_digits_as_text() {
    let profile = rails();
    let key = profile.candidate(KeyId(7)).expect("a key");
    let digits = key.material().expose_text().expect("text");
    assert_eq!(digits.len(), 128);
    assert!(digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
    let fields = profile.render(&Configuration { active: &key, accept_only: vec![] }).expect("fields");
    assert_eq!(text(&fields, "SECRET_KEY_BASE").as_deref(), Some(digits));
    assert_eq!(text(&fields, "SECRET_KEY_BASE_ACCEPT"), None);
}

fn rails() -> Profile {
    Profile::builtin("rails").expect("the profile")
}

fn stored(values: &[(&str, &str)]) -> Fields {
    Fields(values.iter().map(|(name, value)| (field(name), Some(Secret::from_text(value)))).collect())
}

fn texts(keys: &[FoundKey]) -> Vec<&str> {
    keys.iter().map(|key| key.parts[0].material.expose_text().expect("text")).collect()
}

#[test]
fn the_fields_of_rails_at_each_stage() {
    let profile = rails();
    let [a, b, c] = ["old", "new", "third"].map(|text| Secret::from_text(&text.repeat(20)));
    let [old, new, third] = [(1, &a), (3, &b), (2, &c)].map(|(id, text)| Key::single(KeyId(id), text.duplicate()));
    let written = |active: &Key, accept_only: Vec<&Key>| {
        let fields = profile.render(&Configuration { active, accept_only }).expect("fields");
        (text(&fields, "SECRET_KEY_BASE"), text(&fields, "SECRET_KEY_BASE_ACCEPT"))
    };
    let (o, n, t) = ("old".repeat(20), "new".repeat(20), "third".repeat(20));
    assert_eq!(written(&old, vec![&third]), (Some(o.clone()), Some(t.clone())), "idle, with a leftover third key");
    assert_eq!(written(&old, vec![&new, &third]), (Some(o.clone()), Some(format!("{n},{t}"))), "accepting");
    assert_eq!(written(&new, vec![&old, &third]), (Some(n.clone()), Some(format!("{o},{t}"))), "promoting, draining");
    assert_eq!(written(&new, vec![&third]), (Some(n.clone()), Some(t)), "retiring");
    assert_eq!(written(&new, vec![]), (Some(n), None), "a cutover");
}

#[test]
fn an_empty_accept_field_is_as_good_as_none() {
    for fields in
        [stored(&[("SECRET_KEY_BASE", "a")]), stored(&[("SECRET_KEY_BASE", "a"), ("SECRET_KEY_BASE_ACCEPT", "")])]
    {
        let parsed = rails().parse(&fields).expect("a configuration");
        assert_eq!((texts(&[parsed.active]), texts(&parsed.accept_only)), (vec!["a"], vec![]));
    }
    let mut absent = stored(&[("SECRET_KEY_BASE", "a")]);
    absent.0.insert(field("SECRET_KEY_BASE_ACCEPT"), None);
    assert!(rails().parse(&absent).expect("a configuration").accept_only.is_empty());
}

#[test]
fn fields_that_do_not_say_one_thing_are_refused() {
    type Refused = fn(&ProfileError) -> bool;
    let cases: [(&[(&str, &str)], Refused); 7] = [
        (&[], |error| matches!(error, ProfileError::ActiveAbsent { .. })),
        (&[("SECRET_KEY_BASE_ACCEPT", "a")], |error| matches!(error, ProfileError::ActiveAbsent { .. })),
        (&[("SECRET_KEY_BASE", "")], |error| matches!(error, ProfileError::ActiveEmpty { .. })),
        (&[("SECRET_KEY_BASE", "a"), ("SECRET_KEY_BASE_ACCEPT", "b,")], |error| {
            matches!(error, ProfileError::EmptyEntry { .. })
        }),
        (&[("SECRET_KEY_BASE", "a"), ("SECRET_KEY_BASE_ACCEPT", ",")], |error| {
            matches!(error, ProfileError::EmptyEntry { .. })
        }),
        (&[("SECRET_KEY_BASE", "a"), ("SECRET_KEY_BASE_ACCEPT", "b,a")], |error| {
            matches!(error, ProfileError::SameKeyTwice)
        }),
        (&[("SECRET_KEY_BASE", "a"), ("SECRET_KEY_BASE_ACCEPT", "b,b")], |error| {
            matches!(error, ProfileError::SameKeyTwice)
        }),
    ];
    for (values, refused) in cases {
        let Err(error) = rails().parse(&stored(values)) else { panic!("{values:?} was read") };
        assert!(refused(&error), "{values:?}: {error}");
    }
    // Spaces belong to the key, because Ruby's `split` leaves them there.
    let spaced = rails().parse(&stored(&[("SECRET_KEY_BASE", "a"), ("SECRET_KEY_BASE_ACCEPT", "b, c")]));
    assert_eq!(texts(&spaced.expect("a configuration").accept_only), ["b", " c"]);
}

#[test]
fn a_key_that_the_list_would_split_is_not_written() {
    let key = |id, text: &str| Key::single(KeyId(id), Secret::from_text(text));
    let (good, comma) = (key(1, "good"), key(2, "com,ma"));
    let refused = rails().render(&Configuration { active: &good, accept_only: vec![&comma] });
    assert!(matches!(refused, Err(ProfileError::Unwritable { id: KeyId(2), .. })));
    let alone = rails().render(&Configuration { active: &comma, accept_only: vec![&good] });
    assert!(alone.is_ok(), "the active key stands alone");
    let empty = rails().render(&Configuration { active: &key(1, ""), accept_only: vec![] });
    assert!(matches!(empty, Err(ProfileError::Unwritable { id: KeyId(1), .. })));
    let twice = rails().render(&Configuration { active: &good, accept_only: vec![&key(3, "good")] });
    assert!(matches!(twice, Err(ProfileError::Ring(_))));
}

#[test]
fn one_slot_takes_one_key_and_says_when_there_is_no_room() {
    let profile = Profile::builtin("rails/single-slot").expect("the profile");
    assert_eq!(profile.accept_slots(), Slots::Limited(1));
    assert_eq!(rails().accept_slots(), Slots::Unlimited);
    let [a, b, c] = [1, 2, 3].map(|id| profile.candidate(KeyId(id)).expect("a key"));
    let fields = profile.render(&Configuration { active: &a, accept_only: vec![&b] }).expect("fields");
    assert_eq!(text(&fields, "OLD_SECRET_KEY_BASE").as_deref(), b.material().expose_text().ok());
    let refused = profile.render(&Configuration { active: &a, accept_only: vec![&b, &c] });
    assert!(matches!(refused, Err(ProfileError::NoRoom { keys: 2, room: 1 })));
}

#[test]
fn field_names_are_the_users() {
    let names = BTreeMap::from([("accept".to_owned(), field("OLD_SECRET_KEY_BASE"))]);
    let profile = rails().with_names(&names).expect("the profile");
    assert_eq!(profile.fields(), [field("OLD_SECRET_KEY_BASE"), field("SECRET_KEY_BASE")]);
    let initializer = profile.initializer().expect("an initializer").text;
    assert!(initializer.contains(r#"ENV.fetch("OLD_SECRET_KEY_BASE", "").split(",")"#), "{initializer}");
    assert!(!initializer.contains('@'), "{initializer}");
    let wrong = BTreeMap::from([("acept".to_owned(), field("X"))]);
    assert!(matches!(rails().with_names(&wrong), Err(ProfileError::UnknownRole { .. })));
    let same = BTreeMap::from([("accept".to_owned(), field("SECRET_KEY_BASE"))]);
    assert!(matches!(rails().with_names(&same), Err(ProfileError::DoubledField { .. })));
    let two = rails().with_accept_fields(&[field("OLD_1"), field("OLD_2")]).expect("the profile");
    assert_eq!(two.accept_slots(), Slots::Limited(2));
    let one = rails().with_accept_fields(&[field("OLD")]).expect("the profile");
    assert_eq!(one.accept_slots(), Slots::Unlimited);
    let ring_file = Profile::builtin("keyroll").expect("the profile");
    assert!(matches!(ring_file.with_accept_fields(&[field("OLD")]), Err(ProfileError::UnknownRole { .. })));
}

#[test]
fn a_ring_file_as_a_field_has_no_line_break_at_its_end() {
    let profile = Profile::builtin("keyroll").expect("the profile");
    let key = profile.candidate(KeyId(1)).expect("a key");
    let fields = profile.render(&Configuration { active: &key, accept_only: Vec::new() }).expect("the fields");
    let Some(Some(text)) = fields.0.get(&FieldName("content".into())) else { panic!("no content") };
    assert!(text.expose().ends_with(b"}"));
    assert_eq!(profile.parse(&fields).expect("a configuration").active.id, Some(KeyId(1)));
}

#[test]
fn the_ids_of_a_ring_file_come_back() {
    let profile = Profile::builtin("keyroll").expect("the profile");
    assert_eq!(profile.fields(), [field("content")]);
    let [a, b, c] = [4, 9, 7].map(|id| profile.candidate(KeyId(id)).expect("a key"));
    let fields = profile.render(&Configuration { active: &c, accept_only: vec![&b, &a] }).expect("fields");
    let parsed = profile.parse(&fields).expect("a configuration");
    let ids: Vec<_> = parsed.accept_only.iter().map(|key| key.id).collect();
    assert_eq!((parsed.active.id, ids), (Some(KeyId(7)), vec![Some(KeyId(9)), Some(KeyId(4))]));
}

const TWO_PARTS: &str = r#"
    schema = 1
    name = "two"
    title = "Two parts"
    parts = [
        { name = "encryption", encoding = "base64", material = "bytes", length = { exactly = 32 }, generate = { random-bytes = 32, as = "raw" } },
        { name = "signing", encoding = "hex", material = "bytes", length = { at-least = 16 }, generate = { random-bytes = 64, as = "raw" } },
    ]
    [layout]
    kind = "separate-parts"
    [layout.parts]
    encryption = { active = "ENC", accept = { kind = "list", field = "ENC_OLD", separator = " " } }
    signing = { active = "SIG", accept = { kind = "slots", fields = ["SIG_OLD", "SIG_OLDER"] } }
"#;

#[test]
fn the_parts_of_a_key_move_together() {
    let profile = Profile::from_toml(TWO_PARTS).expect("a profile");
    assert_eq!(profile.accept_slots(), Slots::Limited(2), "the part with the least room decides");
    assert_eq!(
        profile.roles().into_keys().collect::<Vec<_>>(),
        ["encryption.accept", "encryption.active", "signing.accept", "signing.accept-2", "signing.active"]
    );
    let names = BTreeMap::from([("signing.accept-2".to_owned(), field("SIG_2"))]);
    let profile = profile.with_names(&names).expect("a profile");
    let [a, b, c] = [1, 2, 3].map(|id| profile.candidate(KeyId(id)).expect("a key"));
    let fields = profile.render(&Configuration { active: &a, accept_only: vec![&c, &b] }).expect("fields");
    assert_eq!(fields.0.len(), 5);
    let parsed = profile.parse(&fields).expect("a configuration");
    let accept: Vec<_> = parsed.accept_only.into_iter().map(|key| key.into_key(KeyId(9)).expect("a key")).collect();
    assert!(parsed.active.into_key(KeyId(8)).expect("a key").shares_material(&a));
    for (found, key) in accept.iter().zip([&c, &b]) {
        assert!(found.parts().iter().zip(key.parts()).all(|(left, right)| left.material.ct_eq(&right.material)));
    }
    let mut uneven = profile.render(&Configuration { active: &a, accept_only: vec![&b] }).expect("fields");
    uneven.0.insert(field("SIG_OLD"), None);
    assert!(matches!(profile.parse(&uneven), Err(ProfileError::UnevenParts { found: 0, expected: 1, .. })));
    let single = Key::single(KeyId(5), Secret::from_text("one part"));
    let refused = profile.render(&Configuration { active: &single, accept_only: vec![] });
    assert!(matches!(refused, Err(ProfileError::WrongParts { .. })));
}

#[test]
fn a_profile_with_a_mistake_is_refused_with_its_place() {
    let with = |from: &str, to: &str| {
        assert!(TWO_PARTS.contains(from), "{from}");
        Profile::from_toml(&TWO_PARTS.replacen(from, to, 1))
    };
    for (from, to) in [
        ("schema = 1", "schema = 2"),
        ("title", "titel"),
        ("exactly", "exact"),
        ("random-bytes = 32", "random-bytes = 8"),
        ("name = \"signing\"", "name = \"encryption\""),
        ("signing = {", "other = {"),
        ("separator = \" \"", "separator = \"ä\""),
        ("fields = [\"SIG_OLD\", \"SIG_OLDER\"]", "fields = []"),
        ("kind = \"separate-parts\"", "kind = \"several\""),
    ] {
        assert!(matches!(with(from, to), Err(ProfileError::Malformed { .. })), "{from} -> {to}");
    }
    assert!(matches!(with("\"SIG_OLD\",", "\"ENC\","), Err(ProfileError::DoubledField { .. })));
    let Err(error) = Profile::builtin("rail") else { panic!("there is no such profile") };
    assert_eq!(
        error.to_string(),
        "there is no profile `rail`; there are `django`, `django/signed-cookies`, `express`, `flask`, `keyroll`, `rails`, `rails/single-slot`"
    );
    assert!(matches!(Profile::builtin("rails/double-slot"), Err(ProfileError::Unknown { .. })));
}

#[test]
fn keys_that_are_not_fit_are_named_without_showing_them() {
    let sample = "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf";
    let template = r#"ENV["OLD_SECRET_KEY_BASE"]"#;
    let findings = rails().lint_fields(&stored(&[("SECRET_KEY_BASE", sample), ("SECRET_KEY_BASE_ACCEPT", template)]));
    let what: Vec<_> = findings.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "the active key is not fit: the key is a published sample that anybody can look up",
            "the accepted key number 1 is not fit: the key has 26 bytes and needs at least 32",
            "the accepted key number 1 is not fit: the key is the text of a template that was never filled in, and so it is public",
        ]
    );
    assert!(!format!("{findings:?}").contains(&sample[..8]));
    let equal = rails().lint_fields(&stored(&[("SECRET_KEY_BASE", sample), ("SECRET_KEY_BASE_ACCEPT", sample)]));
    assert_eq!(equal[0].lint, "same-key-twice");
    let unreadable = rails().lint_fields(&stored(&[("SECRET_KEY_BASE", "")]));
    assert_eq!(unreadable[0].lint, "unreadable-fields");
}

#[test]
fn a_codec_that_a_builtin_profile_names_is_there() {
    let mut without = Vec::new();
    for name in Profile::names() {
        let profile = Profile::builtin(&name).expect("the profile");
        let Some((codec, params)) = profile.codec() else {
            without.push(name);
            continue;
        };
        let mut params = params.clone();
        params.entry("cookie".to_owned()).or_insert_with(|| "_app_session".to_owned());
        let built = crate::codec::build(codec, &params).expect("a codec");
        let key = profile.candidate(KeyId(1)).expect("a key");
        let session =
            crate::codec::Mint { payload: b"{}", issued_at: crate::UnixTime(1), expires_at: Some(crate::UnixTime(9)) };
        let token = built.mint(&key, &session).expect("a session");
        assert!(built.open(&[&key], &token, crate::UnixTime(2)).is_ok(), "{name}");
    }
    assert_eq!(without, ["django", "django/signed-cookies", "express", "flask"]);
}

#[test]
fn the_initializer_passes_its_own_lints() {
    for name in ["django", "express", "flask", "rails", "rails/single-slot"] {
        let profile = Profile::builtin(name).expect("the profile");
        let Initializer { path, text } = profile.initializer().expect("an initializer");
        assert_eq!(profile.lint(&[SourceFile { path, text }]), [], "{name}");
    }
}

#[test]
fn the_fields_of_express_at_each_stage_are_one_list_whose_first_key_signs() {
    let profile = Profile::builtin("express").expect("the profile");
    let [a, b] = ["old", "new"].map(|text| Secret::from_text(&text.repeat(20)));
    let [old, new] = [(1, &a), (2, &b)].map(|(id, text)| Key::single(KeyId(id), text.duplicate()));
    let (o, n) = ("old".repeat(20), "new".repeat(20));
    for (active, accept_only, expected) in [
        (&old, vec![], o.clone()),
        (&old, vec![&new], format!("{o},{n}")),
        (&new, vec![&old], format!("{n},{o}")),
        (&new, vec![], n),
    ] {
        let fields = profile.render(&Configuration { active, accept_only }).expect("fields");
        assert_eq!(fields.0.len(), 1);
        assert_eq!(text(&fields, "SESSION_SECRET"), Some(expected.clone()));
        let parsed = profile.parse(&fields).expect("a configuration");
        let mut all = vec![parsed.active];
        all.extend(parsed.accept_only);
        assert_eq!(texts(&all).join(","), expected);
    }
    for broken in ["", ",key", "key,", "key,,key2"] {
        assert!(profile.parse(&stored(&[("SESSION_SECRET", broken)])).is_err(), "{broken}");
    }
}

#[test]
fn django_and_flask_keep_the_new_key_in_the_fallbacks_until_it_is_promoted() {
    for name in ["django", "flask"] {
        let profile = Profile::builtin(name).expect("the profile");
        let [a, b] = ["old", "new"].map(|text| Secret::from_text(&text.repeat(20)));
        let [old, new] = [(1, &a), (2, &b)].map(|(id, text)| Key::single(KeyId(id), text.duplicate()));
        let fields = profile.render(&Configuration { active: &old, accept_only: vec![&new] }).expect("fields");
        assert_eq!(text(&fields, "SECRET_KEY"), Some("old".repeat(20)));
        assert_eq!(text(&fields, "SECRET_KEY_FALLBACKS"), Some("new".repeat(20)));
    }
}

#[test]
fn what_is_wrong_in_applications_of_the_other_frameworks_is_found_and_never_quoted() {
    for (profile, path, source, lints) in [
        (
            "django",
            "settings.py",
            "SECRET_KEY = 'hunter2-in-the-source'\n",
            &["no-fallbacks", "accept-field-unused", "key-in-source"][..],
        ),
        (
            "django",
            "settings.py",
            "SECRET_KEY = os.environ['SECRET_KEY']\nSECRET_KEY_FALLBACKS = os.environ['SECRET_KEY_FALLBACKS']\n",
            &["fallbacks-not-a-list"],
        ),
        (
            "flask",
            "app.py",
            "app.config['SECRET_KEY_FALLBACKS'] = 'hunter2-in-the-source'\n",
            &["fallbacks-not-a-list"],
        ),
        (
            "flask",
            "app.py",
            "app.secret_key = 'hunter2-in-the-source'\n",
            &["no-fallbacks", "accept-field-unused", "key-in-source"],
        ),
        ("express", "app.js", "app.use(session({ secret: process.env.SESSION_SECRET }));\n", &["secret-not-split"]),
        (
            "express",
            "app.js",
            "app.use(session({ secret: 'hunter2-in-the-source' }));\n",
            &["secret-unused", "key-in-source"],
        ),
    ] {
        let findings = Profile::builtin(profile)
            .expect("the profile")
            .lint(&[SourceFile { path: path.to_owned(), text: source.to_owned() }]);
        assert_eq!(findings.iter().map(|finding| finding.lint.as_str()).collect::<Vec<_>>(), lints, "{source}");
        assert!(!format!("{findings:?}").contains("hunter2"));
    }
}

#[test]
fn a_flask_whose_fallbacks_sign_or_are_unknown_is_found() {
    let profile = Profile::builtin("flask").expect("the profile");
    let Initializer { path, text } = profile.initializer().expect("an initializer");
    for (pin, lints) in [
        ("Flask==3.1.0\n", &["fallbacks-sign"][..]),
        ("flask == 3.1\n", &["fallbacks-sign"]),
        ("flask==3.0.3\n", &["fallbacks-unknown"]),
        ("flask==2.3.0\n", &["fallbacks-unknown"]),
        ("flask==3.1.1\n", &[]),
        ("Flask>=3.1.1\n", &[]),
    ] {
        let sources = [
            SourceFile { path: path.clone(), text: text.clone() },
            SourceFile { path: "requirements.txt".to_owned(), text: pin.to_owned() },
        ];
        let findings = profile.lint(&sources);
        assert_eq!(findings.iter().map(|finding| finding.lint.as_str()).collect::<Vec<_>>(), lints, "{pin}");
    }
}

#[test]
fn a_key_that_an_operator_gives_for_a_ring_file_is_its_active_one_or_the_material_alone() {
    let profile = Profile::builtin("keyroll").unwrap();
    let (old, new) = (profile.candidate(KeyId(1)).unwrap(), profile.candidate(KeyId(2)).unwrap());
    let fields = profile.render(&Configuration { active: &old, accept_only: vec![&new] }).unwrap();
    let ring = fields.0.values().flatten().next().unwrap();
    let material = old.material().encoded(Encoding::Base64);
    let with_newline = Secret::from_bytes([ring.expose(), b"\n"].concat());
    for given in [ring, &with_newline, &material] {
        let key = profile.key_from_field(KeyId(7), given).unwrap();
        assert_eq!((key.id(), key.material().expose()), (KeyId(7), old.material().expose()));
    }
    let refused = profile.key_from_field(KeyId(7), &Secret::from_text("{\"active\": 1}"));
    assert!(matches!(refused, Err(ProfileError::RingFile { .. })));
}
