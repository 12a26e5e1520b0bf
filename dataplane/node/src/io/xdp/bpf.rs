//! bpf(2): the maps, the program and the link that the back end needs, without any library. The
//! objects live as long as their descriptors, so a process that dies takes its program along.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::program::{self, Instruction, LocalKey};

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const MAP_TYPE_HASH: u32 = 1;
const MAP_TYPE_XSKMAP: u32 = 17;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;

/// How the program is attached, as the flags of `linux/if_link.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel makes a packet buffer.
    Native,
    /// After that: any interface can, at more cost.
    Generic,
}

impl Mode {
    fn flags(self) -> u32 {
        match self {
            Self::Generic => 1 << 1,
            Self::Native => 1 << 2,
        }
    }

    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[repr(C)]
struct MapUpdate {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// # Safety
/// `T` must be laid out as the command's part of `union bpf_attr`, without padding that is not
/// written, and every address in it must be valid for what the command does with it.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `attributes`; the rest is the caller's word.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(result).expect("descriptors are ints"))
}

/// # Safety
/// As [`bpf`], and the command must be one that returns a new descriptor.
unsafe fn bpf_object<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: by the caller's word.
    let descriptor = unsafe { bpf(command, attributes)? };
    // SAFETY: the kernel just gave this descriptor (close-on-exec), and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A descriptor as bpf(2) wants it.
fn number(descriptor: &OwnedFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// What one interface needs: the program with its two maps. Not attached yet.
#[derive(Debug)]
pub struct Program {
    program: OwnedFd,
    locals: OwnedFd,
    sockets: OwnedFd,
}

impl Program {
    /// Makes the maps, for at most `locals` addresses and `queues` queues, and loads the program.
    ///
    /// # Errors
    /// What bpf(2) says, without CAP_BPF first of all.
    pub fn load(locals: u32, queues: u32) -> io::Result<Self> {
        let map = |kind, key_size, max_entries| {
            let attributes = MapCreate { kind, key_size, value_size: 4, max_entries };
            // SAFETY: the layout is that of BPF_MAP_CREATE; it holds no address.
            unsafe { bpf_object(MAP_CREATE, &attributes) }
        };
        let locals = map(MAP_TYPE_HASH, size_of::<LocalKey>() as u32, locals)?;
        let sockets = map(MAP_TYPE_XSKMAP, 4, queues)?;
        let code: Vec<Instruction> = program::build(locals.as_raw_fd(), sockets.as_raw_fd());
        let licence = c"Apache-2.0";
        let attributes = ProgramLoad {
            kind: PROG_TYPE_XDP,
            instruction_count: u32::try_from(code.len()).expect("the program is short"),
            instructions: code.as_ptr() as u64,
            licence: licence.as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log: 0,
            kernel_version: 0,
            flags: 0,
            name: *b"hype_xdp\0\0\0\0\0\0\0\0",
            interface: 0,
            expected_attach_type: ATTACH_XDP,
        };
        // SAFETY: the layout is that of BPF_PROG_LOAD; code and licence live through the call, and
        // the count is the code's own.
        let program = unsafe { bpf_object(PROG_LOAD, &attributes)? };
        Ok(Self { program, locals, sockets })
    }

    /// Attaches it; it stays as long as the descriptor that is returned.
    ///
    /// # Errors
    /// EBUSY or EEXIST where another program is attached; EOPNOTSUPP where the driver cannot.
    pub fn attach(&self, interface: u32, mode: Mode) -> io::Result<OwnedFd> {
        let attributes = LinkCreate {
            program: number(&self.program),
            interface,
            attach_type: ATTACH_XDP,
            flags: mode.flags(),
        };
        // SAFETY: the layout is that of BPF_LINK_CREATE; it holds no address.
        unsafe { bpf_object(LINK_CREATE, &attributes) }
    }

    /// From here on, datagrams for this local address go to the AF_XDP socket of their queue, if
    /// they come by `queue` ([`program::ANY_QUEUE`]: by any).
    ///
    /// # Errors
    /// When the map is full.
    pub fn add_local(&self, key: &LocalKey, queue: u32) -> io::Result<()> {
        update(&self.locals, key, &queue.to_ne_bytes())
    }

    /// Makes an AF_XDP socket the one of its queue. Closing it takes it out again.
    ///
    /// # Errors
    /// When it is no such socket, or there is no such queue.
    pub fn add_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        update(&self.sockets, &queue.to_ne_bytes(), &socket.as_raw_fd().to_ne_bytes())
    }
}

/// Sets an entry of a map with keys of `KEY` bytes and values of four.
fn update<const KEY: usize>(map: &OwnedFd, key: &[u8; KEY], value: &[u8; 4]) -> io::Result<()> {
    let attributes = MapUpdate {
        map: number(map),
        padding: 0,
        key: key.as_ptr() as u64,
        value: value.as_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the layout is that of BPF_MAP_UPDATE_ELEM; key and value live through the call, and
    // have the sizes that the maps were made with.
    unsafe { bpf(MAP_UPDATE_ELEM, &attributes) }.map(drop)
}

#[cfg(test)]
mod tests;
