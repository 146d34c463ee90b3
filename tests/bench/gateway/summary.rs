//! Medians and spreads of what was measured.

use std::collections::HashMap;

use crate::contender::Contender;
use crate::scenario::Scenario;

/// Costs, in µs or in instructions, by scenario and contender, one for each round.
#[derive(Default)]
pub struct Measurements(HashMap<(&'static str, Contender), Vec<f64>>);

impl Measurements {
    pub fn add(&mut self, scenario: &Scenario, contender: &Contender, cost: f64) {
        self.0.entry((scenario.name, contender.clone())).or_default().push(cost);
    }
}

/// One contender in one scenario.
pub struct Row {
    pub scenario: &'static str,
    pub contender: Contender,
    /// A request's.
    pub whole: Spread,
    /// What is more than without a filter in the same round.
    pub added: Spread,
    each_whole: Vec<f64>,
    each_added: Vec<f64>,
}

/// The middle of the values, and what the middle half of them lies between.
#[derive(Clone, Copy)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        Spread {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        }
    }
}

pub struct Summary {
    pub rows: Vec<Row>,
}

impl Summary {
    pub fn of(scenarios: &[Scenario], measurements: &Measurements) -> Summary {
        let rows = scenarios.iter().flat_map(|scenario| {
            let costs = |contender: &Contender| &measurements.0[&(scenario.name, contender.clone())];
            let unfiltered = costs(&Contender::NoFilter);
            scenario.contenders.iter().map(move |contender| {
                let whole = costs(contender);
                let each_added: Vec<f64> = whole.iter().zip(unfiltered).map(|(whole, bare)| whole - bare).collect();
                Row {
                    scenario: scenario.name,
                    contender: contender.clone(),
                    whole: Spread::of(whole.iter().copied()),
                    added: Spread::of(each_added.iter().copied()),
                    each_whole: whole.clone(),
                    each_added,
                }
            })
        });
        Summary { rows: rows.collect() }
    }

    pub fn row(&self, scenario: &str, contender: &Contender) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.scenario == scenario && row.contender == *contender)
    }

    /// What the one adds over what the other adds, taken in each round.
    pub fn ratio_of_added(&self, scenario: &str, one: &Contender, other: &Contender) -> Option<Spread> {
        let (one, other) = (self.row(scenario, one)?, self.row(scenario, other)?);
        Some(Spread::of(
            one.each_added
                .iter()
                .zip(&other.each_added)
                .map(|(one, other)| one / other),
        ))
    }

    /// The same of whole requests.
    pub fn ratio_of_whole(&self, scenario: &str, one: &Contender, other: &Contender) -> Option<Spread> {
        let (one, other) = (self.row(scenario, one)?, self.row(scenario, other)?);
        Some(Spread::of(
            one.each_whole
                .iter()
                .zip(&other.each_whole)
                .map(|(one, other)| one / other),
        ))
    }
}
