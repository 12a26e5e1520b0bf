//! Migrations and the web client are embedded in the library: building again when they change.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
    println!("cargo:rerun-if-changed=web");
}
