//! The program, run by the kernel over frames that are made here (BPF_PROG_TEST_RUN). Needs root.

use std::net::SocketAddr;

use super::*;
use crate::io::xdp::frame::{MacAddress, Template};
use crate::io::xdp::program::{ANY_QUEUE, local_key};
use crate::io::xdp::umem::HEADROOM;

const PROG_TEST_RUN: libc::c_int = 10;
const PASS: u32 = 2;
const REDIRECT: u32 = 4;
const MAC: MacAddress = [2, 0, 0, 0, 0, 1];

#[repr(C)]
struct TestRun {
    program: u32,
    result: u32,
    input_len: u32,
    output_len: u32,
    input: u64,
    output: u64,
    repeat: u32,
    duration: u32,
}

/// What the program decides about a frame that comes by queue 0.
fn decide(program: &Program, frame: &[u8]) -> u32 {
    let mut attributes = TestRun {
        program: number(&program.program),
        result: 0,
        input_len: u32::try_from(frame.len()).expect("frames are short"),
        output_len: 0,
        input: frame.as_ptr() as u64,
        output: 0,
        repeat: 1,
        duration: 0,
    };
    // SAFETY: the layout is that of BPF_PROG_TEST_RUN; the frame lives through the call, its length
    // is its own, and the kernel writes into `attributes` only.
    let result = unsafe {
        let place = &raw mut attributes;
        libc::syscall(libc::SYS_bpf, PROG_TEST_RUN, place, size_of::<TestRun>())
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    attributes.result
}

fn frame(from: &str, to: &str, payload: usize) -> Vec<u8> {
    let address = |text: &str| text.parse::<SocketAddr>().expect("a literal");
    let template = Template::new(MAC, address(from), address(to)).expect("one family");
    let mut frame = vec![0; HEADROOM + payload];
    let start = template.write(&mut frame, &MAC);
    frame.split_off(start)
}

/// A frame with some bytes changed.
fn changed(frame: &[u8], changes: &[(usize, u8)]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    changes.iter().for_each(|(at, value)| frame[*at] = *value);
    frame
}

const V4: &str = "192.0.2.1:20000";
const V6: &str = "[2001:db8::1]:20000";

/// A program that knows both addresses, by `queue`, and has a socket for queue 0.
fn program(queue: u32) -> Option<Program> {
    let program = match Program::load(4, 1) {
        Ok(program) => program,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: loading a program needs root");
            return None;
        }
        Err(error) => panic!("the kernel refuses the program: {error}"),
    };
    for local in [V4, V6] {
        let key = local_key(local.parse().expect("a literal"));
        program.add_local(&key, queue).expect("there is room");
    }
    // SAFETY: no memory is passed; the result is checked before it is used, and nobody else knows
    // the descriptor.
    let socket = unsafe {
        let socket = libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        assert!(socket >= 0, "{}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(socket)
    };
    program.add_socket(0, std::os::fd::AsFd::as_fd(&socket)).expect("it is one");
    // Closing it would take it out of the map.
    std::mem::forget(socket);
    Some(program)
}

#[test]
fn only_plain_datagrams_for_our_addresses_are_taken() {
    let Some(program) = program(ANY_QUEUE) else { return };
    let v4 = frame("198.51.100.7:443", V4, 160);
    let v6 = frame("[2001:db8:1::7]:443", V6, 160);
    for (what, frame, expected) in [
        ("IPv4", v4.clone(), REDIRECT),
        ("IPv6", v6.clone(), REDIRECT),
        ("nothing in it", frame("198.51.100.7:443", V4, 0), REDIRECT),
        ("the longest IPv4", frame("198.51.100.7:443", V4, 1500), REDIRECT),
        ("the longest IPv6", frame("[2001:db8:1::7]:443", V6, 1500), REDIRECT),
        ("longer", frame("[2001:db8:1::7]:443", V6, 1501), PASS),
        ("another port", frame("198.51.100.7:443", "192.0.2.1:20001", 9), PASS),
        ("another IPv4 address", frame("198.51.100.7:443", "192.0.2.2:20000", 9), PASS),
        ("another IPv6 address", frame("[::7]:443", "[2001:db8::2]:20000", 9), PASS),
        ("our address as an embedded one", frame("[::7]:4", "[::192.0.2.1]:20000", 9), PASS),
        ("IPv4 with options", changed(&v4, &[(14, 0x46)]), PASS),
        ("IPv4 that says it is 6", changed(&v4, &[(14, 0x65)]), PASS),
        ("a first fragment", changed(&v4, &[(20, 0x20)]), PASS),
        ("a later fragment", changed(&v4, &[(21, 0x01)]), PASS),
        ("TCP over IPv4", changed(&v4, &[(23, 6)]), PASS),
        ("TCP over IPv6", changed(&v6, &[(20, 6)]), PASS),
        ("a fragment header", changed(&v6, &[(20, 44)]), PASS),
        ("IPv6 that says it is 4", changed(&v6, &[(14, 0x45)]), PASS),
        ("IPv6 with a traffic class", changed(&v6, &[(14, 0x6b), (15, 0x80)]), REDIRECT),
        ("ARP", changed(&v4, &[(13, 0x06)]), PASS),
        ("a VLAN's", changed(&v4, &[(12, 0x81), (13, 0)]), PASS),
        ("cut IPv4", v4[..41].to_vec(), PASS),
        ("cut IPv6", v6[..61].to_vec(), PASS),
        ("hardly a frame", v4[..14].to_vec(), PASS),
    ] {
        assert_eq!(decide(&program, &frame), expected, "{what}");
    }
}

/// Steering is by rules in the network card. What comes by the wrong queue is another worker's.
#[test]
fn a_queue_takes_only_what_is_steered_to_it() {
    for (queue, expected) in [(0, REDIRECT), (1, PASS)] {
        let Some(program) = program(queue) else { return };
        assert_eq!(decide(&program, &frame("198.51.100.7:443", V4, 9)), expected);
        assert_eq!(decide(&program, &frame("[2001:db8:1::7]:443", V6, 9)), expected);
    }
}
