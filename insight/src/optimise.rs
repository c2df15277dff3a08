//! Looking for the best parameters.
//!
//! Responsibilities: the four ways in which fits here look for a minimum or a root, on top of argmin. Inputs: a
//! function, a start. Outputs: where it is best, or None where the search found nothing finite. It must never read a
//! clock (argmin's timer is off) and never answer with a NaN.

use argmin::core::{CostFunction, Error, Executor, Gradient, State};
use argmin::solver::brent::{BrentOpt, BrentRoot};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::neldermead::NelderMead;
use argmin::solver::quasinewton::LBFGS;
use nalgebra::DVector;
use std::cell::RefCell;

/// Stands for "worse than anything" where a function has no finite value: optimisers compare, and nothing compares
/// with a NaN.
const WORST: f64 = 1e300;

/// Rounds of Nelder-Mead; it starts again from its best point, since a simplex may have collapsed before it arrived.
const SIMPLEX_STARTS: usize = 3;

struct OfOne<F>(F);

impl<F: Fn(f64) -> f64> CostFunction for OfOne<F> {
    type Param = f64;
    type Output = f64;

    fn cost(&self, at: &f64) -> Result<f64, Error> {
        Ok(finite((self.0)(*at)))
    }
}

struct OfMany<F>(F);

impl<F: Fn(&[f64]) -> f64> CostFunction for OfMany<F> {
    type Param = DVector<f64>;
    type Output = f64;

    fn cost(&self, at: &DVector<f64>) -> Result<f64, Error> {
        Ok(finite((self.0)(at.as_slice())))
    }
}

/// A function that knows its own slope.
pub(crate) trait Smooth {
    /// Its value.
    fn value(&self, at: &[f64]) -> f64;
    /// How it changes with each parameter.
    fn slope(&self, at: &[f64]) -> Vec<f64>;
}

/// Remembers the best point that was tried: a line search that finds nothing better ends as an error, and takes
/// argmin's state with it.
struct WithSlope<'a, S> {
    function: &'a S,
    best: &'a RefCell<(f64, Vec<f64>)>,
}

impl<S: Smooth> CostFunction for WithSlope<'_, S> {
    type Param = DVector<f64>;
    type Output = f64;

    fn cost(&self, at: &DVector<f64>) -> Result<f64, Error> {
        let cost = finite(self.function.value(at.as_slice()));
        let mut best = self.best.borrow_mut();
        if cost < best.0 {
            *best = (cost, at.as_slice().to_vec());
        }
        Ok(cost)
    }
}

impl<S: Smooth> Gradient for WithSlope<'_, S> {
    type Param = DVector<f64>;
    type Gradient = DVector<f64>;

    fn gradient(&self, at: &DVector<f64>) -> Result<DVector<f64>, Error> {
        Ok(DVector::from_vec(self.function.slope(at.as_slice())))
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { WORST }
}

/// Where a function of one variable is least between two bounds (Brent).
pub(crate) fn least(low: f64, high: f64, function: impl Fn(f64) -> f64) -> Option<f64> {
    let run = Executor::new(OfOne(function), BrentOpt::new(low, high)).configure(|state| state.max_iters(200));
    let found = run.timer(false).run().ok()?;
    found.state().get_best_param().copied().filter(|at| at.is_finite())
}

/// Where a function of one variable is zero between two bounds where it has different signs (Brent).
pub(crate) fn root(low: f64, high: f64, function: impl Fn(f64) -> f64) -> Option<f64> {
    let run = Executor::new(OfOne(function), BrentRoot::new(low, high, 1e-13)).configure(|state| state.max_iters(200));
    let found = run.timer(false).run().ok()?;
    found.state().get_best_param().copied().filter(|at| at.is_finite())
}

/// Where a function without a known slope is least (Nelder and Mead's simplex); `step` is how far its corners lie
/// from the start.
pub(crate) fn least_by_simplex(start: &[f64], step: f64, function: impl Fn(&[f64]) -> f64) -> Option<Vec<f64>> {
    let mut best = DVector::from_column_slice(start);
    let mut reach = step;
    for _ in 0..SIMPLEX_STARTS {
        let mut corners = vec![best.clone()];
        for axis in 0..start.len() {
            let mut corner = best.clone();
            corner[axis] += reach;
            corners.push(corner);
        }
        let solver = NelderMead::new(corners).with_sd_tolerance(1e-12).ok()?;
        let run = Executor::new(OfMany(&function), solver).configure(|state| state.max_iters(2_000));
        let found = run.timer(false).run().ok()?;
        best = found.state().get_best_param()?.clone();
        reach *= -0.5;
    }
    let is_found = best.iter().all(|value| value.is_finite()) && function(best.as_slice()).is_finite();
    is_found.then(|| best.as_slice().to_vec())
}

/// Where a smooth function is least (L-BFGS with Moré and Thuente's line search).
pub(crate) fn least_by_slope<S: Smooth>(start: Vec<f64>, function: &S) -> Option<Vec<f64>> {
    let best = RefCell::new((WORST, start.clone()));
    let solver = LBFGS::new(MoreThuenteLineSearch::new(), 8).with_tolerance_grad(1e-9).ok()?;
    let problem = WithSlope { function, best: &best };
    let start = DVector::from_vec(start);
    let run = Executor::new(problem, solver).configure(|state| state.param(start).max_iters(300));
    // How it ended does not matter: at worst the search went no further than the best point so far.
    let _ended = run.timer(false).run();
    let (cost, found) = best.into_inner();
    (cost < WORST && found.iter().all(|value| value.is_finite())).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bowl;

    impl Smooth for Bowl {
        fn value(&self, at: &[f64]) -> f64 {
            (at[0] - 1.0).powi(2) + 10.0 * (at[1] + 2.0).powi(2)
        }

        fn slope(&self, at: &[f64]) -> Vec<f64> {
            vec![2.0 * (at[0] - 1.0), 20.0 * (at[1] + 2.0)]
        }
    }

    #[test]
    fn minima_and_roots_are_found() {
        assert!((least(-5.0, 5.0, |x| (x - 2.0).powi(2)).unwrap() - 2.0).abs() < 1e-4);
        assert!((root(0.0, 2.0, |x| x * x - 2.0).unwrap() - 2.0_f64.sqrt()).abs() < 1e-12);
        let rosenbrock = |x: &[f64]| (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2);
        let found = least_by_simplex(&[-1.0, 1.0], 0.5, rosenbrock).unwrap();
        assert!((found[0] - 1.0).abs() < 1e-4 && (found[1] - 1.0).abs() < 1e-4, "{found:?}");
        let found = least_by_slope(vec![0.0, 0.0], &Bowl).unwrap();
        assert!((found[0] - 1.0).abs() < 1e-6 && (found[1] + 2.0).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn a_function_without_a_root_or_a_finite_value_has_no_answer() {
        assert_eq!(root(1.0, 2.0, |x| x), None);
        assert_eq!(least_by_simplex(&[0.0], 1.0, |_| f64::NAN), None);
    }
}
