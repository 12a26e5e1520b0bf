//! From values to places on an axis, and where its ticks stand.

/// How values are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Evenly, from zero.
    Linear,
    /// By their logarithm; only positive values have a place.
    Log,
}

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    kind: Kind,
    low: f64,
    high: f64,
    /// Place of the lowest and of the highest value.
    from: f64,
    to: f64,
}

impl Scale {
    /// Covers all finite values (positive ones, if logarithmic) between round ends.
    pub fn new(kind: Kind, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let usable = |value: &f64| value.is_finite() && (kind == Kind::Linear || *value > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(usable) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (1.0, 1.0);
        }
        let (low, high) = match kind {
            Kind::Linear => {
                let low = low.min(0.0);
                let step = step(low, high);
                (low, if high > low { (high / step - 1e-9).ceil() * step } else { low + 1.0 })
            }
            Kind::Log => {
                let (low, high) = (round_down(low * 1.000_001), round_up(high * 0.999_999));
                if low < high { (low, high) } else { (low / 2.0, high * 2.0) }
            }
        };
        Self { kind, low, high, from, to }
    }

    /// Where a value stands; values beyond the ends stand at them.
    pub fn place(&self, value: f64) -> f64 {
        let share = match self.kind {
            Kind::Linear => (value - self.low) / (self.high - self.low),
            Kind::Log => {
                (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
            }
        };
        self.from + (self.to - self.from) * share.clamp(0.0, 1.0)
    }

    /// The values that get a tick and a label.
    pub fn ticks(&self) -> Vec<f64> {
        match self.kind {
            Kind::Linear => {
                let step = step(self.low, self.high);
                let first = (self.low / step).ceil();
                let mut ticks = Vec::new();
                let mut number = first;
                while number * step <= self.high + step * 1e-6 && ticks.len() < 20 {
                    ticks.push(number * step);
                    number += 1.0;
                }
                ticks
            }
            Kind::Log => {
                let decades = (self.high / self.low).log10();
                let between: &[f64] = match decades {
                    decades if decades <= 1.0 => &[1.0, 2.0, 3.0, 5.0, 7.0],
                    decades if decades <= 2.7 => &[1.0, 2.0, 5.0],
                    _ => &[1.0],
                };
                // On very wide axes only every second or third decade is named.
                let every = (decades / 7.0).ceil().max(1.0);
                let mut ticks = Vec::new();
                let mut exponent = self.low.log10().floor();
                while exponent <= self.high.log10() + 1e-9 && ticks.len() < 40 {
                    for factor in between {
                        let value = factor * 10f64.powf(exponent);
                        if value >= self.low * 0.999_999 && value <= self.high * 1.000_001 {
                            ticks.push(value);
                        }
                    }
                    exponent += every;
                }
                ticks
            }
        }
    }
}

/// A step of 1, 2 or 5 times a power of ten that gives about five ticks.
fn step(low: f64, high: f64) -> f64 {
    let rough = ((high - low) / 5.0).max(1e-12);
    let power = 10f64.powf(rough.log10().floor());
    let factor = match rough / power {
        factor if factor <= 1.0 => 1.0,
        factor if factor <= 2.0 => 2.0,
        factor if factor <= 5.0 => 5.0,
        _ => 10.0,
    };
    factor * power
}

fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let factor = [5.0, 2.0, 1.0].into_iter().find(|factor| factor * power <= value);
    factor.unwrap_or(1.0) * power
}

fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= value);
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, values: &[f64], ends: [f64; 2], ticks: &[f64]) {
        let scale = Scale::new(kind, values.iter().copied(), 0.0, 100.0);
        assert_eq!([scale.low, scale.high], ends, "{values:?}");
        let found = scale.ticks();
        assert_eq!(found.len(), ticks.len(), "{found:?}");
        assert!(found.iter().zip(ticks).all(|(a, b)| (a - b).abs() <= b.abs() * 1e-9), "{found:?}");
    }

    #[test]
    fn axes_end_at_round_numbers() {
        check(Kind::Linear, &[3.0, 47.0], [0.0, 50.0], &[0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        check(Kind::Linear, &[0.0, 0.0], [0.0, 1.0], &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        check(Kind::Linear, &[], [0.0, 1.0], &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        check(Kind::Log, &[3.0, 47.0], [2.0, 50.0], &[2.0, 5.0, 10.0, 20.0, 50.0]);
        check(Kind::Log, &[10.0, f64::NAN, -1.0, 0.0], [5.0, 20.0], &[5.0, 7.0, 10.0, 20.0]);
        check(Kind::Log, &[10.0, 1e5], [10.0, 1e5], &[10.0, 100.0, 1000.0, 10_000.0, 100_000.0]);
    }

    #[test]
    fn places_go_from_end_to_end() {
        let scale = Scale::new(Kind::Log, [1.0, 100.0].into_iter(), 200.0, 0.0);
        for (value, place) in [(1.0, 200.0), (10.0, 100.0), (100.0, 0.0), (0.0, 200.0), (1e9, 0.0)]
        {
            assert!((scale.place(value) - place).abs() < 1e-9, "{value}");
        }
    }
}
