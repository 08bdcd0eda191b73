//! How many of something each process has.

use std::collections::HashMap;

use super::Party;

/// A count for each that has any.
#[derive(Debug, Default)]
pub struct Crowds(HashMap<Party, usize>);

impl Crowds {
    /// How many `party` has.
    #[must_use]
    pub fn of(&self, party: Party) -> usize {
        self.0.get(&party).copied().unwrap_or_default()
    }

    /// It has one more.
    pub fn add(&mut self, party: Party) {
        *self.0.entry(party).or_default() += 1;
    }

    /// It has one less.
    pub fn remove(&mut self, party: Party) {
        if let Some(count) = self.0.get_mut(&party) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&party);
            }
        }
    }

    /// Who has the most, and how many.
    #[must_use]
    pub fn largest(&self) -> Option<(Party, usize)> {
        let (party, count) = self.0.iter().max_by_key(|(_, count)| **count)?;
        Some((*party, *count))
    }
}
