//! The services of the harness do what tests rely on: the application, the webhook receiver, the database, the writer.

mod application;
mod client;
mod database;
mod receiver;
