//! Dependencies run one way only (DESIGN §3). Reads the imports of every source file and what
//! cargo resolves for the engine, and fails on an arrow that must not be there.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources: the layout has changed");
    found
}

/// Lines of code (not comments) that name something forbidden.
fn offences(folder: &str, forbidden: &[&str]) -> Vec<String> {
    let mut offences = Vec::new();
    for path in sources(folder) {
        let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if forbidden.iter().any(|word| code.contains(word)) {
                let path = path.strip_prefix(root()).unwrap_or(&path);
                offences.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    offences
}

#[track_caller]
fn check(folder: &str, forbidden: &[&str]) {
    let offences = offences(folder, forbidden);
    assert!(offences.is_empty(), "{folder} must not use {forbidden:?}:\n{}", offences.join("\n"));
}

#[test]
fn planes_do_not_know_each_other() {
    check("controlplane/src", &["hype_node::", "hype_sfu::", "hype_bench::"]);
    check("dataplane", &["hype_control::", "hype_bench::"]);
    check("protocol/src", &["hype_control::", "hype_node::", "hype_sfu::", "hype_bench::"]);
    check("bench/src", &["hype_control::", "hype_node::"]);
}

#[test]
fn the_engine_is_sans_io() {
    let forbidden = [
        "tokio",
        "std::thread",
        "std::sync::Mutex",
        "std::sync::RwLock",
        "std::time::Instant",
        "std::time::SystemTime",
        "UdpSocket",
        "TcpStream",
        "std::fs",
        "libc::",
        "unsafe {",
    ];
    check("dataplane/sfu/src", &forbidden);
}

#[test]
fn only_the_worker_joins_sockets_and_engine() {
    check(
        "dataplane/node/src/io",
        &["hype_sfu::", "hype_protocol::", "crate::worker", "crate::agent"],
    );
    check("dataplane/node/src/worker", &["crate::agent"]);
}

#[test]
fn unsafe_code_lives_in_the_io_back_ends() {
    for folder in [
        "controlplane/src",
        "protocol/src",
        "bench/src",
        "src",
        "dataplane/node/src/agent",
        "dataplane/node/src/worker",
        "dataplane/sfu",
    ] {
        check(folder, &["unsafe {", "unsafe fn", "unsafe impl"]);
    }
}

#[test]
fn planners_do_not_wait() {
    for file in [
        "controlplane/src/voice/placement.rs",
        "dataplane/node/src/agent/rooms.rs",
        "bench/src/plan/model.rs",
        "bench/src/plan/sizing.rs",
        "bench/src/plan/traffic.rs",
        "bench/src/plan/figures.rs",
    ] {
        let text = std::fs::read_to_string(root().join(file)).expect("the planner is there");
        assert!(!text.contains(".await"), "{file} is a pure planner and must not await");
    }
}

#[test]
fn handlers_speak_to_neither_database_nor_store() {
    check("controlplane/src/http", &["sqlx", "etcd_client", "coordination::Store"]);
    check("controlplane/src/gateway", &["sqlx", "etcd_client", "coordination::Store"]);
    check("controlplane/src/domain", &["sqlx", "axum", "etcd_client"]);
}

#[test]
fn the_environment_is_read_only_by_the_roles() {
    for folder in ["controlplane/src", "dataplane", "protocol/src", "bench/src"] {
        let offences: Vec<String> = offences(folder, &["std::env::var", "env::var("])
            .into_iter()
            .filter(|line| !line.contains("tests"))
            .collect();
        assert!(offences.is_empty(), "{}", offences.join("\n"));
    }
}

/// What cargo resolves for a package's own build, by name.
fn resolved(package: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "-p", package])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

#[test]
fn the_engine_builds_without_any_runtime() {
    let tree = resolved("hype-sfu");
    for forbidden in
        ["tokio ", "utoipa ", "etcd-client ", "quinn ", "mio ", "libc-", "socket2 ", "ring "]
    {
        let found = tree.lines().find(|line| line.starts_with(forbidden));
        assert_eq!(found, None, "the engine must not depend on {forbidden}");
    }
}
