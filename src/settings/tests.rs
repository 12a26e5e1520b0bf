//! The table, the layers over each other, the file's errors, and what production refuses.

use std::path::PathBuf;

use clap::{Args, FromArgMatches};

use super::*;

/// A file that goes away with the test.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("hype-settings-{}-{number}", std::process::id()));
        std::fs::write(&path, text).expect("written");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn loaded(process: Process, text: &str) -> Loaded {
    load(process, Some(&File::new(text).0), &[])
}

fn problems(process: Process, text: &str) -> Vec<String> {
    loaded(process, text).problems.iter().map(ToString::to_string).collect()
}

fn given(name: &'static str, text: &str, origin: Origin) -> Given {
    Given { name, text: text.to_owned(), origin }
}

fn shown(settings: &Settings) -> Vec<(&'static str, Option<String>)> {
    table::settings().iter().map(|setting| (setting.key, setting.show(settings))).collect()
}

#[test]
fn the_example_parses_and_equals_the_defaults() {
    let text = example();
    for process in [Process::Up, Process::Control, Process::Node] {
        let loaded = loaded(process, &text);
        assert_eq!(loaded.problems, []);
        assert_eq!(shown(&loaded.settings), shown(&Settings::default()));
    }
    let file::Read { values, problems } = file::parse(&text).expect("TOML");
    assert_eq!(problems, []);
    let unset = shown(&Settings::default()).iter().filter(|(_, value)| value.is_none()).count();
    assert_eq!(values.len() + unset, settings().len(), "each default is in it");
    // What has no default is there as a comment that can be taken as it is.
    let all: Vec<_> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => setting,
            _ => line,
        })
        .collect();
    let file::Read { values, problems } = file::parse(&all.join("\n")).expect("TOML");
    assert_eq!(problems, []);
    assert_eq!(values.len(), settings().len(), "every setting is in it");
    assert!(text.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn every_setting_has_a_name_of_its_own_and_a_section_with_a_text() {
    for process in [Process::Up, Process::Control, Process::Node, Process::BenchNode] {
        let mut seen = std::collections::HashSet::new();
        for setting in settings().iter().filter(|setting| process.has(setting.part)) {
            assert!(seen.insert(&setting.name), "--{} stands twice", setting.name);
        }
    }
    for setting in settings() {
        let (section, _) = setting.place();
        assert!(section.is_empty() || table::SECTIONS.iter().any(|(name, _)| *name == section));
        assert!(setting.doc.ends_with('.'), "{}", setting.key);
        let is_set = setting.show(&Settings::default()).is_some();
        assert_ne!(is_set, !setting.example.is_empty(), "{}: a default or an example", setting.key);
    }
}

#[test]
fn later_layers_go_over_earlier_ones() {
    let file =
        File::new("id_worker = 5\n[limits]\ntable_size = 640\n[http]\ntls = \"self-signed\"\n");
    let over = [
        given("limits-table-size", "1280", Origin::Environment("HYPE_LIMITS_TABLE_SIZE")),
        given("http", "127.0.0.1:0", Origin::Flag("http")),
    ];
    let loaded = load(Process::Control, Some(&file.0), &over);
    assert_eq!(loaded.problems, []);
    let printed = print(&loaded);
    for (line, origin) in [
        ("mode = \"development\"", "default"),
        ("id_worker = 5", "file"),
        ("tls = \"self-signed\"", "file"),
        ("table_size = 1280", "environment HYPE_LIMITS_TABLE_SIZE"),
        ("address = \"127.0.0.1:0\"", "flag --http"),
        ("# accounts is not set", "default"),
    ] {
        let found = printed.lines().find(|printed| printed.starts_with(line));
        assert!(found.is_some_and(|found| found.ends_with(&format!("# {origin}"))), "{printed}");
    }
    assert!(!printed.contains("[media]"), "a replica forwards nothing");
    file::parse(&printed).expect("what is printed is TOML");
}

#[test]
fn one_flag_means_what_its_process_means() {
    let data_dir = [given("data-dir", "here", Origin::Flag("data-dir"))];
    let up = load(Process::Up, None, &data_dir).settings;
    assert_eq!((up.control.data_dir, up.node.data_dir), ("here".into(), "hype-node".into()));
    let node = load(Process::Node, None, &data_dir).settings;
    assert_eq!((node.control.data_dir, node.node.data_dir), ("hype-data".into(), "here".into()));
}

#[test]
fn flags_are_read_as_before() {
    fn read<F: flags::For>(arguments: &str) -> Settings {
        let command = Flags::<F>::augment_args(clap::Command::new("hype"));
        let words = std::iter::once("hype").chain(arguments.split_whitespace());
        let matches = command.try_get_matches_from(words).expect("known flags");
        let flags = Flags::<F>::from_arg_matches(&matches).expect("read");
        flags.settings().expect("good settings")
    }
    let up = read::<flags::Up>(
        "--data-dir d --http 127.0.0.1:1 --tls self-signed --udp-port 7 --workers 2 --announce \
         10.0.0.1 --announce 10.0.0.2,10.0.0.3 --io socket --interface a,b --node-id n --region r \
         --max-sessions 9 --http-behind-proxy --limits-message-burst 3",
    );
    assert_eq!(up.control.limits.message.burst, 3);
    assert!(up.control.behind_proxy);
    let media = up.media();
    assert_eq!((media.workers, media.udp_port, media.max_sessions), (2, 7, 9));
    assert_eq!(media.announce.len(), 3);
    assert_eq!(media.interfaces, ["a", "b"]);
    let control = read::<flags::Control>(
        "--etcd http://a:1,http://b:1 --etcd-ca ca --etcd-cert c,k --etcd-user u --etcd-password p \
         --control-id east --link 0.0.0.0:1 --link-announce 10.0.0.1:1 --pki-dir pki --roles api",
    );
    assert_eq!(control.etcd.endpoints.len(), 2);
    assert_eq!(control.etcd.password.expect("given").reveal(), "p");
    assert_eq!(control.control.roles.to_string(), "api");
    assert_eq!(control.link.pki_dir, PathBuf::from("pki"));
    let node =
        read::<flags::Node>("--enroll t --control http://c --admin 127.0.0.1:0 --data-dir d");
    assert_eq!(node.node.token.expect("given").reveal(), "t");
    assert_eq!(read::<flags::BenchNode>("--workers 3 --udp-port 0").media().workers, 3);
}

#[test]
fn unknown_keys_are_told_with_the_nearest_known_one() {
    for (text, key, nearest) in [
        ("modus = \"production\"", "modus", "mode"),
        ("[http]\nadress = \"[::]:80\"", "http.adress", "http.address"),
        ("[limit.message]\nburst = 3", "limit", "limits"),
        (
            "[limits.message]\nper_second = 3",
            "limits.message.per_second",
            "limits.message.per_minute",
        ),
        ("[store]\nshard = []", "store.shard", "store.shards"),
        ("[tokens]\naccess = 600", "tokens.access", "tokens.access_s"),
    ] {
        let told = format!("{key} (file): is no setting; did you mean {nearest}?");
        assert_eq!(problems(Process::Up, text), [told]);
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = "id_worker = 70000\nhttp = 80\n[store]\nreaders = 65\nshards = \"sqlite:a\"\n\
                [argon2]\npasses = \"2\"\n[media]\nworkers = 0\nmax_sessions = 0\n\
                [cors]\norigins = [\"*\"]\n[bus]\nuser = \"u\"\n[voice]\nmode = \"mesh\"\n";
    let mut found = problems(Process::Up, text);
    found.sort();
    let starts = [
        "argon2.passes (file): must be a whole number, without quotes",
        "bus.nats (default): is missing",
        "bus.user (file): needs bus.password",
        "cors.origins (file): `*` is no origin",
        "http (file): is a section: write [http]",
        "id_worker (file): `70000` is not a whole number of 0 to 65535",
        "media.max_sessions (file): must be 1 to 1000000",
        "media.workers (file): must be 1 to 256",
        "store.readers (file): 65 is not within 1 to 64",
        "store.shards (file): must be an array of strings",
        "voice.mode (file): `mesh` is not one of auto, p2p and sfu",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}");
    }
    let refused = loaded(Process::Up, text).accepted().expect_err("refused").to_string();
    assert_eq!(refused.lines().count(), 1 + starts.len());
}

#[test]
fn a_file_that_is_no_toml_is_told_with_its_line_and_not_its_secret() {
    let found = problems(Process::Up, "mode = \"production\"\n[etcd]\npassword = k9x\n");
    assert!(found.len() == 1 && found[0].contains("line 3"), "{found:?}");
    assert!(!found[0].contains("k9x"), "{found:?}");
    let found = load(Process::Up, Some(Path::new("/nowhere/hype.toml")), &[]).problems;
    assert!(found[0].to_string().contains("/nowhere/hype.toml"), "{found:?}");
}

#[test]
fn secrets_are_masked_wherever_they_are_printed() {
    let secret = File::new("k9x-from-file\n");
    let text = format!(
        "[store]\naccounts = \"postgres://u:k9x-dsn@h/d\"\n[etcd]\nuser = \"u\"\n\
         password = \"k9x-text\"\n[bus]\nnats = [\"nats://a\"]\ntoken = \"file:{}\"\n",
        secret.0.display()
    );
    let loaded = loaded(Process::Control, &text);
    assert_eq!(loaded.problems, []);
    let token = loaded.settings.control.bus.token.as_ref().expect("given");
    assert_eq!(token.reveal(), "k9x-from-file");
    for shown in [print(&loaded), format!("{:?}", loaded.settings)] {
        assert!(!shown.contains("k9x"), "{shown}");
    }
}

#[test]
fn production_refuses_what_is_unsafe_and_says_what_to_do() {
    #[track_caller]
    fn check(process: Process, text: &str, refused: &[&str]) {
        let text = format!("mode = \"production\"\n{text}");
        let found = loaded(process, &text).problems;
        let keys: Vec<_> = found.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, refused, "{found:#?}");
        assert!(found.iter().all(|problem| problem.reason.starts_with("in production, ")));
    }
    let key = "9f3c1e7ab2d84560c7e1f0932b6d5a48e4170cb98d2f63a51b7e90d4c8f3a62d";
    let safe = format!(
        "[http]\ntls = \"a,b\"\n[store]\naccounts = \"postgres://u:k9x@h/d\"\n\
         [bus]\nnats = [\"nats://a\"]\n[secrets]\nsealing_key = \"{key}\"\n"
    );
    check(Process::Control, &safe, &[]);
    check(Process::Up, "[http]\naddress = \"127.0.0.1:8080\"\n", &[]);
    check(Process::Up, "[http]\nbehind_proxy = true\n", &[]);
    check(Process::Up, "", &["http.tls"]);
    check(Process::Node, "", &[]);
    check(Process::Control, "", &["http.tls", "store.accounts", "bus.nats", "secrets.sealing_key"]);
    let embedded = safe.replace("postgres://u:k9x@h/d", "sqlite:a");
    check(Process::Control, &embedded, &["store.accounts"]);
    let default = safe.replace("u:k9x", "postgres:postgres");
    check(Process::Control, &default, &["store.accounts"]);
    check(Process::Control, &safe.replace(key, &"00".repeat(32)), &["secrets.sealing_key"]);
    let weak = format!("{safe}[etcd]\nuser = \"root\"\npassword = \"root\"\n");
    check(Process::Control, &weak, &["etcd.password"]);
    assert_eq!(problems(Process::Control, ""), [""; 0], "development refuses none of it");
}
