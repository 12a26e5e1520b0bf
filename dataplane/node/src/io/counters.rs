//! What a back end counts: plain numbers, since one thread owns them.

macro_rules! io_counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since a back end was opened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct IoCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl IoCounters {
            /// The fields' names, in the order of `values`: metric labels.
            pub const NAMES: [&'static str; [$(stringify!($name)),*].len()] =
                [$(stringify!($name)),*];

            /// All fields in the order of `NAMES`.
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$name),*]
            }

            /// The reverse of `values`.
            pub fn from_values(values: [u64; Self::NAMES.len()]) -> Self {
                let [$($name),*] = values;
                Self { $($name),* }
            }
        }
    };
}

io_counters! {
    /// Datagrams delivered.
    received,
    /// Bytes of UDP payload delivered.
    received_bytes,
    /// Arrived datagrams longer than [`super::MAX_DATAGRAM`], or from no usable address: dropped.
    truncated,
    /// Errors that a socket reported in place of a datagram, and (AF_XDP) frames for our ports that
    /// are no valid datagram.
    receive_errors,
    /// Times that every receive buffer was in use; datagrams waited in the kernel meanwhile.
    receive_buffers_exhausted,
    /// Datagrams that the kernel dropped because the socket's receive buffer or ring was full.
    receive_overflow,
    /// Of those delivered, the ones that came past the kernel's network stack (AF_XDP).
    received_past_kernel,
    /// Datagrams handed to the kernel.
    sent,
    /// Bytes of UDP payload handed to the kernel.
    sent_bytes,
    /// Sends that succeeded, of one or more datagrams each (UDP GSO).
    sends,
    /// Of the datagrams sent, the ones that went past the kernel's network stack (AF_XDP).
    sent_past_kernel,
    /// Dropped because the socket's send buffer or ring was full (EAGAIN, ENOBUFS).
    send_would_block,
    /// Dropped because there is no way to the destination, or a firewall forbids it.
    send_unreachable,
    /// Dropped because the link's MTU is smaller (EMSGSIZE).
    send_too_long,
    /// Dropped for any other reason.
    send_failed,
    /// Times that no transmit buffer was free.
    transmit_exhausted,
}

impl IoCounters {
    /// Counts a send that ended with `errno`, a positive number.
    pub(super) fn count_send_error(&mut self, errno: i32) {
        match errno {
            libc::EAGAIN | libc::ENOBUFS => self.send_would_block += 1,
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::ENODEV
            | libc::ECONNREFUSED
            | libc::EACCES
            | libc::EPERM
            | libc::EADDRNOTAVAIL
            | libc::EAFNOSUPPORT => self.send_unreachable += 1,
            libc::EMSGSIZE => self.send_too_long += 1,
            _ => self.send_failed += 1,
        }
    }

    /// The sums of both, field by field.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let (mut sums, more) = (self.values(), other.values());
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        Self::from_values(sums)
    }

    /// Everything that was dropped on its way out.
    pub fn send_dropped(&self) -> u64 {
        self.send_would_block
            + self.send_unreachable
            + self.send_too_long
            + self.send_failed
            + self.transmit_exhausted
    }
}
