//! The XDP program, as instructions (RFC 9669): UDP datagrams for one of our sockets go to the
//! AF_XDP socket of the queue that they came by, everything else goes on to the kernel. Pure; it is
//! loaded by `bpf`.
//!
//! It takes IPv4 without options and not fragmented, and IPv6 without extension headers, with a
//! destination that is in the map of locals: address *and* port, because a router must pass on what
//! is for others. Nothing is written, and nothing is trusted but the frame's length.

use std::net::{IpAddr, SocketAddr};

use super::frame;

/// Value in the map of locals for "by whatever queue".
pub const ANY_QUEUE: u32 = u32::MAX;

/// Key of the map of locals: IPv6 address (IPv4 mapped), port in network order, zeros.
pub type LocalKey = [u8; 20];

/// The key of a local address.
pub fn local_key(address: SocketAddr) -> LocalKey {
    let ip = match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut key = [0; 20];
    key[..16].copy_from_slice(&ip.octets());
    key[16..18].copy_from_slice(&address.port().to_be_bytes());
    key
}

/// `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high one (on little-endian machines).
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// A general register, r0–r10.
#[derive(Clone, Copy)]
struct Register(u8);

const R0: Register = Register(0);
const R1: Register = Register(1);
const R2: Register = Register(2);
const R3: Register = Register(3);
const CONTEXT: Register = Register(6);
const DATA: Register = Register(7);
const END: Register = Register(8);
const STACK: Register = Register(10);

/// Widths of loads and stores: the size bits of an opcode.
#[derive(Clone, Copy)]
enum Width {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
}

/// Places that are jumped to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Ipv4,
    Lookup,
    Redirect,
    Pass,
}

#[derive(Default)]
struct Assembler {
    code: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

const XDP_PASS: i32 = 2;
const PSEUDO_MAP_FD: Register = Register(1);
const MAP_LOOKUP_ELEM: i32 = 1;
const REDIRECT_MAP: i32 = 51;
/// Fields of `struct xdp_md`.
const MD_DATA: i16 = 0;
const MD_DATA_END: i16 = 4;
const MD_RX_QUEUE_INDEX: i16 = 16;
/// Where the key of the map of locals stands, below the stack's top.
const KEY: i16 = -20;

impl Assembler {
    fn emit(&mut self, code: u8, to: Register, from: Register, offset: i16, immediate: i32) {
        let registers = to.0 | from.0 << 4;
        self.code.push(Instruction { code, registers, offset, immediate });
    }

    fn load(&mut self, width: Width, to: Register, from: Register, offset: i16) {
        self.emit(0x61 | width as u8, to, from, offset, 0);
    }

    fn store(&mut self, width: Width, from: Register, offset: i16) {
        self.emit(0x63 | width as u8, STACK, from, offset, 0);
    }

    fn store_immediate(&mut self, width: Width, offset: i16, value: i32) {
        self.emit(0x62 | width as u8, STACK, R0, offset, value);
    }

    fn copy(&mut self, to: Register, from: Register) {
        self.emit(0xbf, to, from, 0, 0);
    }

    fn set(&mut self, to: Register, value: i32) {
        self.emit(0xb7, to, R0, 0, value);
    }

    fn add(&mut self, to: Register, value: i32) {
        self.emit(0x07, to, R0, 0, value);
    }

    fn and(&mut self, to: Register, value: i32) {
        self.emit(0x57, to, R0, 0, value);
    }

    fn load_map(&mut self, to: Register, descriptor: i32) {
        self.emit(0x18, to, PSEUDO_MAP_FD, 0, descriptor);
        self.emit(0, R0, R0, 0, 0);
    }

    fn call(&mut self, function: i32) {
        self.emit(0x85, R0, R0, 0, function);
    }

    fn exit(&mut self) {
        self.emit(0x95, R0, R0, 0, 0);
    }

    fn jump(&mut self, code: u8, left: Register, right: Register, immediate: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(code, left, right, 0, immediate);
    }

    fn jump_if_greater(&mut self, left: Register, right: Register, to: Label) {
        self.jump(0x2d, left, right, 0, to);
    }

    fn jump_if(&mut self, left: Register, value: i32, to: Label) {
        self.jump(0x15, left, R0, value, to);
    }

    fn jump_unless(&mut self, left: Register, value: i32, to: Label) {
        self.jump(0x55, left, R0, value, to);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.code.len()));
    }

    /// Passes frames that are shorter than `len` bytes.
    fn pass_if_shorter(&mut self, len: i32) {
        self.copy(R2, DATA);
        self.add(R2, len);
        self.jump_if_greater(R2, END, Label::Pass);
    }

    fn finish(mut self) -> Vec<Instruction> {
        for (from, label) in self.jumps {
            let found = self.labels.iter().find(|(name, _)| *name == label);
            let to = found.expect("every label is placed").1;
            let distance = i16::try_from(to - from - 1).expect("the program is short");
            self.code[from].offset = distance;
        }
        self.code
    }
}

/// 16 bits as a load of two bytes in network order gives them.
fn network(value: u16) -> i32 {
    i32::from(value.to_be())
}

/// The program, for the descriptors of a hash map of [`LocalKey`] to queue, and of an XSKMAP.
pub fn build(locals: i32, sockets: i32) -> Vec<Instruction> {
    let mut a = Assembler::default();
    a.copy(CONTEXT, R1);
    a.load(Width::Word, DATA, CONTEXT, MD_DATA);
    a.load(Width::Word, END, CONTEXT, MD_DATA_END);
    // What cannot be a datagram of ours by its length is left to the kernel, which counts it.
    a.copy(R2, DATA);
    a.add(R2, i32::try_from(frame::LONGEST).expect("frames are short") + 1);
    a.jump(0xbd, R2, END, 0, Label::Pass);
    a.pass_if_shorter(14 + 20 + 8);
    a.load(Width::Half, R3, DATA, 12);
    a.jump_if(R3, network(0x0800), Label::Ipv4);
    a.jump_unless(R3, network(0x86dd), Label::Pass);

    a.pass_if_shorter(14 + 40 + 8);
    a.load(Width::Byte, R3, DATA, 14);
    a.and(R3, 0xf0);
    a.jump_unless(R3, 0x60, Label::Pass);
    a.load(Width::Byte, R3, DATA, 14 + 6);
    a.jump_unless(R3, libc::IPPROTO_UDP, Label::Pass);
    for word in 0..4 {
        a.load(Width::Word, R3, DATA, 14 + 24 + 4 * word);
        a.store(Width::Word, R3, KEY + 4 * word);
    }
    a.load(Width::Half, R3, DATA, 14 + 40 + 2);
    a.jump(0x05, R0, R0, 0, Label::Lookup);

    a.label(Label::Ipv4);
    // Version 4 and five words of header: no options.
    a.load(Width::Byte, R3, DATA, 14);
    a.jump_unless(R3, 0x45, Label::Pass);
    a.load(Width::Byte, R3, DATA, 14 + 9);
    a.jump_unless(R3, libc::IPPROTO_UDP, Label::Pass);
    // Neither more fragments nor an offset.
    a.load(Width::Half, R3, DATA, 14 + 6);
    a.and(R3, network(0x3fff));
    a.jump_unless(R3, 0, Label::Pass);
    a.store_immediate(Width::Word, KEY, 0);
    a.store_immediate(Width::Word, KEY + 4, 0);
    a.store_immediate(Width::Word, KEY + 8, 0x0000_ffff_u32.to_be().cast_signed());
    a.load(Width::Word, R3, DATA, 14 + 16);
    a.store(Width::Word, R3, KEY + 12);
    a.load(Width::Half, R3, DATA, 14 + 20 + 2);

    a.label(Label::Lookup);
    a.store(Width::Half, R3, KEY + 16);
    a.store_immediate(Width::Half, KEY + 18, 0);
    a.load_map(R1, locals);
    a.copy(R2, STACK);
    a.add(R2, i32::from(KEY));
    a.call(MAP_LOOKUP_ELEM);
    a.jump_if(R0, 0, Label::Pass);
    a.load(Width::Word, R3, R0, 0);
    a.load(Width::Word, R2, CONTEXT, MD_RX_QUEUE_INDEX);
    // A comparison of 32 bits: the immediate of 64 would be sign-extended.
    a.jump(0x16, R3, R0, ANY_QUEUE.cast_signed(), Label::Redirect);
    // By a queue of another worker: the kernel's socket takes it.
    a.jump(0x5d, R3, R2, 0, Label::Pass);
    a.label(Label::Redirect);
    a.load_map(R1, sockets);
    a.set(R3, XDP_PASS);
    a.call(REDIRECT_MAP);
    a.exit();

    a.label(Label::Pass);
    a.set(R0, XDP_PASS);
    a.exit();
    a.finish()
}
