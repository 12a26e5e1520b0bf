//! What a completion belongs to, as the 64 bits that io_uring carries from request to completion.

const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;
const WAKE: u64 = 3 << 32;

/// A request of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The multishot RECVMSG of a socket.
    Receive { local: u8 },
    /// The SEND or SENDMSG of a train, by its place among those of this turn.
    Send { train: u16 },
    /// The poll of the wake eventfd.
    Wake,
}

pub fn receive(local: u8) -> u64 {
    RECEIVE | u64::from(local)
}

pub fn send(train: u16) -> u64 {
    SEND | u64::from(train)
}

pub fn wake() -> u64 {
    WAKE
}

/// None for a number that none of the above made.
pub fn decode(number: u64) -> Option<Request> {
    let low = number & 0xffff_ffff;
    match number - low {
        RECEIVE => Some(Request::Receive { local: u8::try_from(low).ok()? }),
        SEND => Some(Request::Send { train: u16::try_from(low).ok()? }),
        WAKE => Some(Request::Wake),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_back() {
        assert_eq!(decode(receive(7)), Some(Request::Receive { local: 7 }));
        assert_eq!(decode(send(65_535)), Some(Request::Send { train: 65_535 }));
        assert_eq!(decode(wake()), Some(Request::Wake));
        assert_eq!(decode(0), None);
        assert_eq!(decode(RECEIVE | 256), None);
    }
}
