//! The daemon kit.

mod service;

pub(crate) use service::Service;
