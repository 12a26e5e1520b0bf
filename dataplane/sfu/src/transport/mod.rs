//! One peer's secure path: ICE-lite checks and SRTP. Pure functions and small state structs that
//! the engine keeps; nothing here knows addresses of others, rooms or time beyond what is passed.

pub mod ice_lite;
pub mod srtp;
