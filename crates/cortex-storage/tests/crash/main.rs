//! Nothing that storage has said is durable is lost, whatever ends at whatever moment: the process that
//! stores, or the server of its database.

mod kill;
mod log;
mod restart;
