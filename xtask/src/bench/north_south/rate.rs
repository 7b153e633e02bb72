//! Datagrams from outside to a `NodePort` and on to a backend on the link, all by one processor, that sends them too.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    bench::{
        bed::link::{By, LinkBed, Wire},
        programs::Programs,
        statistics::{median, spread},
    },
    say,
};

/// A result.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Rate {
    /// Who balances.
    by: &'static str,
    /// Median of the rounds.
    packets_per_second: f64,
    /// How far the rounds lie apart.
    spread: f64,
    /// Nanoseconds that a packet takes more than one that a bare program drops: without what sending it takes.
    nanoseconds: f64,
    /// Nanoseconds of all, beside those of one that a bare program drops.
    to_drop: f64,
    /// Packets per second beside kube-proxy's.
    ratio: f64,
    /// Beside kube-proxy's, without what sending takes: its nanoseconds over ours.
    net_ratio: f64,
}

/// All beds at once, in turn.
pub(super) fn measure(programs: &Programs, wire: &Wire, quick: bool) -> Result<Vec<Rate>> {
    let (rounds, span) = if quick { (3, 500) } else { (9, 1000) };
    programs.choose()?;
    let mut beds = say::step("make the test beds", || {
        let beds = By::ALL.map(|by| LinkBed::new(by, wire).with_context(|| by.name()));
        beds.into_iter().collect::<Result<Vec<_>>>()
    })?;
    let mut all = vec![Vec::new(); beds.len()];
    say::step("send frames from outside", || {
        for round in 0..rounds {
            for turn in 0..beds.len() {
                let bed = (round + turn) % beds.len();
                all[bed].push(beds[bed].rate(Duration::from_millis(span))?);
            }
        }
        Ok(())
    })?;
    // What it measured is told whatever becomes of the beds.
    Ok(rates(&all))
}

/// Of the rounds of each bed, in the order of [`By::ALL`].
fn rates(all: &[Vec<f64>]) -> Vec<Rate> {
    let of = |by: By| By::ALL.iter().position(|one| *one == by);
    let rounds = |by: By| of(by).map_or(&[][..], |at| all[at].as_slice());
    let net = |by: By| -> Vec<f64> {
        let pairs = rounds(by).iter().zip(rounds(By::Drop));
        pairs.map(|(own, bare)| 1e9 / own - 1e9 / bare).collect()
    };
    let ratio = |one: &[f64], other: &[f64]| {
        let ratios: Vec<f64> = one.iter().zip(other).map(|(a, b)| a / b).collect();
        median(&ratios)
    };
    let rate = |by: By| Rate {
        by: by.name(),
        packets_per_second: median(rounds(by)),
        spread: spread(rounds(by)),
        nanoseconds: median(&net(by)),
        to_drop: ratio(rounds(By::Drop), rounds(by)),
        ratio: ratio(rounds(by), rounds(By::KubeProxy)),
        net_ratio: ratio(&net(By::KubeProxy), &net(by)),
    };
    By::ALL.map(rate).into()
}

/// A line each.
pub(super) fn render(rates: &[Rate]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    writeln!(
        text,
        "\n{:<30} PACKETS/S SPREAD NS WITHOUT SENDING TIME TO A DROP TO KUBE-PROXY WITHOUT SENDING",
        "NodePort, IPv4, UDP"
    )
    .ok();
    for rate in rates {
        let net = if rate.net_ratio.is_finite() {
            format!("{:.2}", rate.net_ratio)
        } else {
            "-".to_owned()
        };
        writeln!(
            text,
            "  {:<28} {:>9.0} {:>5.0}% {:>18.0} {:>14.2} {:>13.2} {net:>15}",
            rate.by,
            rate.packets_per_second,
            rate.spread * 100.0,
            rate.nanoseconds,
            rate.to_drop,
            rate.ratio,
        )
        .ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::rates;

    #[test]
    fn what_sending_takes_is_taken_off() {
        // Dropped: 1000 ns, sent back: 1250, kube-proxy: 4000, tc: 2500, XDP: 2000, refused: 1250; each in two rounds.
        let all = [1e6, 8e5, 2.5e5, 4e5, 5e5, 8e5].map(|rate| vec![rate; 2]);
        let rows = rates(&all);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        assert!(near(rows[2].nanoseconds, 3000.0) && near(rows[3].nanoseconds, 1500.0));
        assert!(near(rows[3].ratio, 1.6) && near(rows[3].net_ratio, 2.0));
        assert!(near(rows[0].nanoseconds, 0.0) && near(rows[5].to_drop, 1.25));
    }
}
