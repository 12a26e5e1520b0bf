//! CPU cost of a forwarded packet as a function of the rate on one core. A worker that wakes for
//! few packets pays more for each, so cost falls with the rate; points between measured ones are
//! interpolated over the logarithm of the rate, and nothing is extrapolated beyond them.

use serde::Serialize;

/// One measured point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Packets a second that one core forwarded.
    pub pps_per_core: f64,
    /// CPU nanoseconds for each of them, receiving included.
    pub ns_per_packet: f64,
}

/// Measured points, sorted by rate; never empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve(Vec<Point>);

/// Where on the curve a rate lies: between these two (equal beyond the ends).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// The measured point at or below the rate.
    pub low: Point,
    /// The measured point at or above it.
    pub high: Point,
    /// Nanoseconds a packet at the rate itself.
    pub ns: f64,
}

impl Curve {
    /// Sorts the points; several at one rate (within 5 %) become their median. None when no point
    /// has a positive rate and cost.
    pub fn new(mut points: Vec<Point>) -> Option<Self> {
        points.retain(|point| {
            let usable = |value: f64| value.is_finite() && value > 0.0;
            usable(point.pps_per_core) && usable(point.ns_per_packet)
        });
        points.sort_by(|a, b| a.pps_per_core.total_cmp(&b.pps_per_core));
        let groups = points.chunk_by(|a, b| b.pps_per_core <= a.pps_per_core * 1.05);
        let merged: Vec<Point> = groups
            .map(|group| {
                let mut costs: Vec<f64> = group.iter().map(|point| point.ns_per_packet).collect();
                costs.sort_by(f64::total_cmp);
                Point { ns_per_packet: costs[costs.len() / 2], ..group[group.len() / 2] }
            })
            .collect();
        (!merged.is_empty()).then_some(Self(merged))
    }

    /// The measured points, lowest rate first.
    pub fn points(&self) -> &[Point] {
        &self.0
    }

    /// Cost of a packet at `pps_per_core`; beyond the measured rates, that of the nearest one.
    pub fn cost(&self, pps_per_core: f64) -> Cost {
        let after = self.0.partition_point(|point| point.pps_per_core <= pps_per_core);
        let high = self.0[after.min(self.0.len() - 1)];
        let low = self.0[after.saturating_sub(1)];
        let span = (high.pps_per_core / low.pps_per_core).ln();
        let share = if span > 0.0 { (pps_per_core / low.pps_per_core).ln() / span } else { 0.0 };
        let ns = low.ns_per_packet + (high.ns_per_packet - low.ns_per_packet) * share;
        Cost { low, high, ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Option<Curve> {
        Curve::new(
            points
                .iter()
                .map(|&(pps_per_core, ns_per_packet)| Point { pps_per_core, ns_per_packet })
                .collect(),
        )
    }

    #[test]
    fn costs_lie_between_measured_points_and_stop_at_the_ends() {
        let measured = curve(&[(10_000.0, 3000.0), (1000.0, 5000.0)]).expect("two points");
        for (rate, expected) in [
            (0.0, 5000.0),
            (10.0, 5000.0),
            (1000.0, 5000.0),
            (1000.0 * 10f64.sqrt(), 4000.0),
            (10_000.0, 3000.0),
            (1e9, 3000.0),
        ] {
            let found = measured.cost(rate).ns;
            assert!((found - expected).abs() < 0.01, "{rate}: {found}, expected {expected}");
        }
    }

    #[test]
    fn points_without_meaning_are_left_out_and_repeats_become_their_median() {
        assert_eq!(curve(&[(0.0, 10.0), (10.0, 0.0), (f64::NAN, 1.0)]), None);
        let measured =
            curve(&[(100.0, 9.0), (101.0, 5.0), (102.0, 7.0), (500.0, 3.0)]).expect("points");
        let costs: Vec<f64> = measured.points().iter().map(|point| point.ns_per_packet).collect();
        assert_eq!(costs, [7.0, 3.0]);
    }
}
