//! `hype bench report`: runs the set of benches, and writes one page and one JSON file.

pub mod result;

#[cfg(test)]
pub(crate) mod tests;
