//! One file for each command.

pub mod artifact;
pub mod call;
pub mod chat;
pub mod completions;
pub mod config;
pub mod health;
pub mod serve;
pub mod session;
pub mod storage;
mod transfer;
pub mod up;
