//! How much each machine pulls at the estimate of Cox's model: score residuals, with Efron's handling of ties.
//!
//! Inputs: subjects from the longest life to the shortest, and the estimate. Outputs: one vector for each subject, which add up to
//! nothing. Must never give one of several that ended together more than its share.
//!
//! Source: Therneau and Grambsch, Modeling Survival Data (2000), 4.2 and 3.3: a machine that ends in a tie of d is at risk with weight
//! 1 - k/d in the k-th part of it.

use super::Subject;
use nalgebra::DVector;

/// What the part of a tie adds to the summed hazard, and the mean of covariates there.
struct Part {
    hazard: f64,
    mean: DVector<f64>,
    /// The weight that machines which end in this tie still have.
    ended: f64,
}

/// One for each subject, in their order.
#[allow(clippy::cast_precision_loss, reason = "numbers of machines are below 2^53")]
pub(super) fn score_residuals(beta: &DVector<f64>, subjects: &[Subject]) -> Vec<DVector<f64>> {
    let size = beta.len();
    let with_weight = |subject: &Subject| {
        let x = DVector::from_column_slice(&subject.covariates);
        (x.dot(beta).exp(), x)
    };
    // From the longest life down, as the sums over machines at risk grow.
    let (mut risk, mut risk_first) = (0.0, DVector::zeros(size));
    let mut groups: Vec<(&[Subject], Vec<Part>)> = Vec::new();
    for group in subjects.chunk_by(|a, b| a.hours == b.hours) {
        let (mut ended, mut ended_first, mut count) = (0.0, DVector::zeros(size), 0_usize);
        for subject in group {
            let (weight, x) = with_weight(subject);
            risk += weight;
            risk_first.axpy(weight, &x, 1.0);
            if subject.interrupted {
                ended += weight;
                ended_first.axpy(weight, &x, 1.0);
                count += 1;
            }
        }
        let part = |tied: usize| {
            let share = tied as f64 / count as f64;
            let weight = risk - share * ended;
            Part { hazard: 1.0 / weight, mean: (&risk_first - share * &ended_first) / weight, ended: 1.0 - share }
        };
        groups.push((group, (0..count).map(part).collect()));
    }
    // From the shortest life up, as the summed hazard that a machine has lived through grows.
    let (mut hazard, mut hazard_first) = (0.0, DVector::zeros(size));
    let mut residuals = Vec::with_capacity(subjects.len());
    for (group, parts) in groups.iter().rev() {
        let (mut own, mut own_first, mut mean) = (hazard, hazard_first.clone(), DVector::zeros(size));
        for part in parts {
            own += part.ended * part.hazard;
            own_first.axpy(part.ended * part.hazard, &part.mean, 1.0);
            mean.axpy(1.0 / parts.len() as f64, &part.mean, 1.0);
            hazard += part.hazard;
            hazard_first.axpy(part.hazard, &part.mean, 1.0);
        }
        for subject in group.iter().rev() {
            let (weight, x) = with_weight(subject);
            residuals.push(match subject.interrupted {
                true => (&x - &mean) - weight * (own * &x - &own_first),
                false => -weight * (hazard * &x - &hazard_first),
            });
        }
    }
    residuals.reverse();
    residuals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_estimate_they_add_up_to_nothing_ties_or_not() {
        let hours = [5.0, 4.0, 4.0, 4.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0];
        let interrupted = [false, true, true, false, true, true, true, true, false, true];
        let x = [0.1, 0.9, -0.4, 1.2, 0.3, -0.8, 1.1, 0.6, 0.2, -0.5];
        let subjects: Vec<Subject> = (0..hours.len())
            .map(|at| Subject { hours: hours[at], interrupted: interrupted[at], covariates: vec![x[at]], cluster: 0 })
            .collect();
        let cox = crate::lifetimes::Cox::fit(&["x"], &subjects).expect("fitted");
        let beta = DVector::from_element(1, cox.effects[0].log_ratio);
        let sum: f64 = score_residuals(&beta, &subjects).iter().map(|residual| residual[0]).sum();
        assert!(sum.abs() < 1e-9, "{sum}");
        let elsewhere: f64 = score_residuals(&(beta * 2.0), &subjects).iter().map(|residual| residual[0]).sum();
        assert!(elsewhere.abs() > 1e-3, "{elsewhere}");
    }
}
