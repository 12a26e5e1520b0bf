//! The five phases of growth that the platform is planned for, as demands: from 100 people on one
//! rented server to a million in six regions. Sizes and budgets are the product plan's; what it
//! does not say (channel sizes, screens) is the same in all phases but for bigger channels later.

use super::demand::{Channel, Demand, Node, Prices, Region};

/// The phases, smallest first.
pub fn all() -> Vec<Demand> {
    (1..=5).filter_map(phase).collect()
}

/// One phase, 1–5.
pub fn phase(number: u8) -> Option<Demand> {
    let one: &[_] = &[("eu-central-1", 1.0)];
    let three: &[_] = &[("us-east-1", 0.4), ("eu-west-1", 0.35), ("ap-south-1", 0.25)];
    let six: &[_] = &[
        ("us-east-1", 0.25),
        ("us-west-1", 0.15),
        ("eu-west-1", 0.15),
        ("eu-central-1", 0.25),
        ("ap-south-1", 0.1),
        ("ap-northeast-1", 0.1),
    ];
    // What is not a media node, a month: nothing at first (one server holds all of it), then
    // managed databases and coordination, shards and an event bus, a CDN for the big streams.
    let (name, users, regions, cores, memory_gib, fixed_month_usd, budget) = match number {
        1 => ("Phase 1: first users", 100.0, one, 2.0, 4.0, 0.0, [50.0, 100.0]),
        2 => ("Phase 2: growth", 1000.0, three, 4.0, 8.0, 75.0, [300.0, 500.0]),
        3 => ("Phase 3: scale", 10_000.0, six, 8.0, 16.0, 750.0, [1500.0, 3000.0]),
        4 => ("Phase 4: massive", 100_000.0, six, 8.0, 16.0, 3500.0, [8000.0, 15_000.0]),
        5 => ("Phase 5: a million", 1_000_000.0, six, 8.0, 16.0, 20_000.0, [50_000.0, 150_000.0]),
        _ => return None,
    };
    let defaults = Demand::default();
    let mut channels = defaults.channels.clone();
    if number >= 4 {
        // Channels that only a big platform has: they take their people from those of 50.
        let (people, share_of_people) = if number == 4 { (200.0, 0.02) } else { (1000.0, 0.02) };
        if let Some(biggest) = channels.last_mut() {
            biggest.share_of_people -= share_of_people;
        }
        channels.push(Channel { people, share_of_people, speakers: 5.0 });
    }
    Some(Demand {
        name: name.into(),
        users,
        voice_share_at_peak: 0.1,
        budget_month_usd: Some(budget),
        regions: regions.iter().map(|&(name, share)| Region { name: name.into(), share }).collect(),
        channels,
        node: Node { cores, memory_gib, ..Node::default() },
        prices: Prices { fixed_month_usd, ..Prices::default() },
        ..defaults
    })
}
