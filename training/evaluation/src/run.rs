//! Fits models and asks them a protocol's questions. Cases are ranked in parallel and summed in their order, so the
//! figures do not depend on the number of threads.

use marquee_events::Clock;
use rayon::prelude::*;
use serde::Serialize;

use crate::{Case, EvaluationError, Interactions, Metrics, Progress, Protocol, Ranked, Recommender, Training, rank};

/// Rarer items are left out: the preprocessing of the published MovieLens figures.
pub const MIN_EVENTS_PER_ITEM: u32 = 5;

/// How models are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    /// How training and test are kept apart.
    pub protocol: Protocol,
    /// Items with fewer events are left out before anything else.
    pub min_events_per_item: u32,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How training and test were kept apart.
    pub protocol: Protocol,
    /// Users, after rare items were left out.
    pub users: usize,
    /// Items, after rare ones were left out.
    pub items: usize,
    /// Events, likewise.
    pub events: usize,
    /// Questions: one for each user who could be tested.
    pub cases: usize,
    /// Those of users without any training event.
    pub cold_cases: usize,
    /// In the order of the models.
    pub results: Vec<ModelResult>,
}

/// What came out for one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelResult {
    /// Its name.
    pub model: String,
    /// Over all cases.
    #[serde(flatten)]
    pub all: Metrics,
    /// Share of the items that are in the top 10 of at least one case.
    #[serde(rename = "coverage@10")]
    pub coverage_at_10: f64,
    /// Fitting took so long (s).
    pub fit_s: f64,
    /// Cases in which the model knew nothing and all-time popularity answered.
    pub fallbacks: usize,
    /// Over the cases of users with training events.
    pub warm: Metrics,
}

impl Evaluation {
    /// As the published figures are made: items with at least five events.
    pub fn published(protocol: Protocol) -> Self {
        Self { protocol, min_events_per_item: MIN_EVENTS_PER_ITEM }
    }

    /// Fits each model on the same training and asks it the same questions. `progress` hears the model's name.
    ///
    /// # Errors
    /// When nothing is left to test, or a model fails.
    pub fn run(
        self,
        interactions: &Interactions,
        models: &mut [Box<dyn Recommender>],
        clock: &dyn Clock,
        progress: &mut dyn FnMut(&str, Progress),
    ) -> Result<Report, EvaluationError> {
        let interactions = interactions.with_events_per_item(self.min_events_per_item);
        let split = self.protocol.split(&interactions)?;
        let popularity: Vec<f32> = split.training.popularity().into_iter().map(|count| count as f32).collect();
        let mut results = Vec::with_capacity(models.len());
        for model in models {
            let fit_ms = fit(model.as_mut(), &split.training, clock, progress)?;
            let answers: Vec<(Ranked, bool)> = split
                .cases
                .par_iter()
                .map(|case| {
                    let score = |case: &Case, scores: &mut [f32]| model.score(&case.context, case.target.at_ms, scores);
                    answer(model.name(), case, &popularity, score)
                })
                .collect::<Result<_, _>>()?;
            results.push(ModelResult::of(model.name(), &split.cases, &answers, popularity.len(), fit_ms));
        }
        Ok(Report {
            protocol: self.protocol,
            users: interactions.users().len(),
            items: interactions.items().len(),
            events: interactions.events().len(),
            cases: split.cases.len(),
            cold_cases: split.cases.iter().filter(|case| case.context.is_empty()).count(),
            results,
        })
    }
}

fn fit(
    model: &mut dyn Recommender,
    training: &Training,
    clock: &dyn Clock,
    progress: &mut dyn FnMut(&str, Progress),
) -> Result<i64, EvaluationError> {
    let name = model.name();
    let began_ms = clock.now_ms();
    model
        .fit(training, &mut |step| progress(name, step))
        .map_err(|source| EvaluationError::Fit { model: name, source })?;
    Ok(clock.now_ms() - began_ms)
}

/// Where the model puts the target, and whether popularity had to answer for it.
pub(crate) fn answer(
    model: &'static str,
    case: &Case,
    popularity: &[f32],
    score: impl Fn(&Case, &mut [f32]) -> bool,
) -> Result<(Ranked, bool), EvaluationError> {
    let mut scores = vec![0.0; popularity.len()];
    let known = score(case, &mut scores);
    let scores = if known { &scores } else { popularity };
    let ranked =
        rank(scores, &case.context, case.target.item).map_err(|item| EvaluationError::NotANumber { model, item })?;
    Ok((ranked, !known))
}

impl ModelResult {
    fn of(name: &str, cases: &[Case], answers: &[(Ranked, bool)], items: usize, fit_ms: i64) -> Self {
        let mut shown = vec![false; items];
        for item in answers.iter().flat_map(|(ranked, _)| &ranked.top) {
            shown[*item as usize] = true;
        }
        let warm = cases.iter().zip(answers).filter(|(case, _)| !case.context.is_empty());
        Self {
            model: name.to_owned(),
            all: Metrics::of(answers.iter().map(|(ranked, _)| ranked.rank)),
            coverage_at_10: shown.iter().filter(|shown| **shown).count() as f64 / items.max(1) as f64,
            fit_s: fit_ms as f64 / 1_000.0,
            fallbacks: answers.iter().filter(|(_, fell_back)| *fell_back).count(),
            warm: Metrics::of(warm.map(|(_, (ranked, _))| ranked.rank)),
        }
    }
}

#[cfg(test)]
mod tests {
    use marquee_events::ManualClock;

    use super::*;
    use crate::{FitError, Visit};

    /// The next item is the last one plus `step`; it knows nothing of cold users.
    struct Stepper {
        step: f32,
        items: usize,
    }

    impl Recommender for Stepper {
        fn name(&self) -> &'static str {
            "stepper"
        }

        fn fit(&mut self, training: &Training, progress: &mut dyn FnMut(Progress)) -> Result<(), FitError> {
            progress(Progress { epoch: 1, max_epochs: 1, loss: 0.0, validation_ndcg: 0.0 });
            self.items = training.items.len();
            if training.events() == 0 { Err("nothing to learn from".into()) } else { Ok(()) }
        }

        fn score(&self, context: &[Visit], _at_ms: i64, scores: &mut [f32]) -> bool {
            assert_eq!(scores.len(), self.items);
            let Some(last) = context.last() else { return false };
            for (item, score) in scores.iter_mut().enumerate() {
                *score = -(item as f32 - last.item as f32 - self.step).abs();
            }
            true
        }
    }

    fn run(protocol: Protocol, rows: &[(&str, &str, i64)], step: f32) -> Report {
        let mut models: Vec<Box<dyn Recommender>> = vec![Box::new(Stepper { step, items: 0 })];
        let mut heard = Vec::new();
        let report = Evaluation { protocol, min_events_per_item: 1 }
            .run(
                &Interactions::from_rows(rows.iter().copied()),
                &mut models,
                &ManualClock::new(0),
                &mut |name, step| heard.push((name.to_owned(), step.epoch)),
            )
            .unwrap();
        assert_eq!(heard, [("stepper".to_owned(), 1)]);
        report
    }

    #[test]
    fn the_report_has_the_names_that_scripts_read() {
        let rows = [("u", "a", 1), ("u", "b", 2), ("u", "c", 3), ("u", "d", 4)];
        let report = run(Protocol::LeaveOneOut, &rows, 1.0);
        let expected = serde_json::json!({
            "protocol": "leave-one-out", "users": 1, "items": 4, "events": 4, "cases": 1, "cold_cases": 0,
            "results": [{
                "model": "stepper", "hr@10": 1.0, "ndcg@10": 1.0, "coverage@10": 0.25, "fit_s": 0.0, "fallbacks": 0,
                "warm": {"hr@10": 1.0, "ndcg@10": 1.0},
            }],
        });
        assert_eq!(serde_json::to_value(report).unwrap(), expected);
    }

    #[test]
    fn cold_users_get_popularity_and_are_counted() {
        // Trained on: a a a a a b b b b; tests: cold → b (second in popularity), u → c after b (exactly one step).
        let rows = [
            ("u", "a", 0),
            ("v", "a", 1),
            ("w", "a", 2),
            ("x", "a", 3),
            ("y", "a", 4),
            ("v", "b", 5),
            ("w", "b", 6),
            ("x", "b", 7),
            ("u", "b", 8),
            ("cold", "b", 9),
            ("u", "c", 9),
        ];
        let report = run(Protocol::TimeSplit, &rows, 1.0);
        let result = &report.results[0];
        assert_eq!((report.cases, report.cold_cases, result.fallbacks), (2, 1, 1));
        let second = 1.0 / 3_f64.log2();
        assert!((result.all.ndcg_at_10 - f64::midpoint(1.0, second)).abs() < 1e-12);
        assert!((result.warm.ndcg_at_10 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let names: Vec<String> = (0..40).map(|n| format!("n{n}")).collect();
        let rows: Vec<(&str, &str, i64)> = (0..2_000_u64)
            .map(|k| (names[(k * 7 % 31) as usize].as_str(), names[(k * k % 37) as usize].as_str(), k as i64))
            .collect();
        let reports: Vec<Report> = [1, 4]
            .into_iter()
            .map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| run(Protocol::LeaveOneOut, &rows, 3.0))
            })
            .collect();
        assert_eq!(reports[0], reports[1]);
        assert!(reports[0].results[0].all.ndcg_at_10 > 0.0);
    }

    #[test]
    fn a_model_that_fails_is_named() {
        struct Broken;
        impl Recommender for Broken {
            fn name(&self) -> &'static str {
                "broken"
            }
            fn fit(&mut self, _: &Training, _: &mut dyn FnMut(Progress)) -> Result<(), FitError> {
                Ok(())
            }
            fn score(&self, _: &[Visit], _: i64, scores: &mut [f32]) -> bool {
                scores[0] = f32::NAN;
                true
            }
        }
        let rows = [("u", "a", 1), ("u", "b", 2), ("u", "c", 3)];
        let evaluation = Evaluation { protocol: Protocol::LeaveOneOut, min_events_per_item: 1 };
        let error = evaluation
            .run(&Interactions::from_rows(rows), &mut [Box::new(Broken)], &ManualClock::new(0), &mut |_, _| ())
            .unwrap_err();
        assert_eq!(error.to_string(), "broken gives item 0 a score that is not a number");
    }
}
