//! The rules: who may do what, and what it means. Functions over [`crate::app::App`] that
//! REST and the gateway both call; they know neither HTTP nor WebSockets.

pub mod audit;
pub mod auth;
pub mod ban;
pub mod channel;
pub mod guild;
pub mod insights;
pub mod invite;
pub mod member;
pub mod message;
pub mod moderation;
pub mod overwrite;
pub mod permission;
pub mod role;
pub mod search;
pub mod text;
