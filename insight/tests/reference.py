"""What lifelines and scipy say of the same data, for tests/agreement.rs.

Reads a JSON list of questions from standard input, each with `kind` and its data; writes a list of answers, each a table of names and
lists of numbers, with null where the reference has no number. It must never see the numbers it is compared with.

A new kind is a function here and one line in KINDS.
"""

import json
import math
import sys
import warnings

import numpy as np
from scipy import optimize, special, stats

warnings.filterwarnings("ignore")


def numbers(values):
    """Numbers, and None for what is none."""
    return [float(value) if math.isfinite(value) else None for value in values]


def survival(question):
    # Imported where it is used: that takes seconds.
    from lifelines import KaplanMeierFitter, NelsonAalenFitter

    hours, interrupted = np.array(question["hours"]), np.array(question["interrupted"])
    ages = np.unique(hours)
    meier = KaplanMeierFitter().fit(hours, interrupted)
    alive = meier.survival_function_["KM_estimate"].loc[ages].to_numpy()
    band = meier.confidence_interval_survival_function_.loc[ages].to_numpy()
    # Nobody is left, or nobody has gone: the log-log interval has no value.
    band[(alive <= 0) | (alive >= 1)] = np.nan
    # Greenwood's by scipy, from its linear interval where that is not cut off at 0 and 1.
    other = stats.ecdf(stats.CensoredData(uncensored=hours[interrupted], right=hours[~interrupted])).sf
    linear = other.confidence_interval(method="linear").low
    z = stats.norm.ppf(0.975)
    greenwood = (other.probabilities - linear.probabilities) / z
    greenwood[linear.probabilities <= 0] = np.nan
    nelson = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(hours, interrupted)
    hazard = nelson.cumulative_hazard_.iloc[:, 0].loc[ages].to_numpy()
    hazard_band = nelson.confidence_interval_.loc[ages].to_numpy()
    hazard_band[hazard <= 0] = np.nan
    return {
        "alive": numbers(alive),
        "alive_low": numbers(band[:, 0]),
        "alive_high": numbers(band[:, 1]),
        "alive_by_scipy": numbers(other.evaluate(ages)),
        "alive_se": numbers(np.interp(ages, other.quantiles, greenwood)),
        "hazard_sum": numbers(hazard),
        "hazard_sum_low": numbers(hazard_band[:, 0]),
        "hazard_sum_high": numbers(hazard_band[:, 1]),
    }


def cox(question):
    import pandas as pd
    from lifelines import CoxPHFitter
    from lifelines.utils import concordance_index

    frame = pd.DataFrame(question["covariates"], columns=[f"x{at}" for at in range(len(question["covariates"][0]))])
    frame["hours"], frame["interrupted"] = question["hours"], question["interrupted"]
    options = {"fit_options": {"precision": 1e-13, "max_steps": 500}}
    plain = CoxPHFitter().fit(frame, "hours", "interrupted", **options)
    # Rounded: equal machines have equal scores, whatever the order in which sums were made.
    scores = np.round(plain.predict_log_partial_hazard(frame), 9)
    concordance = concordance_index(frame["hours"], -scores, frame["interrupted"])
    answer = {
        "log_ratio": numbers(plain.params_),
        "naive_se": numbers(plain.standard_errors_),
        "log_likelihood": numbers([plain.log_likelihood_]),
        "concordance": numbers([concordance]),
    }
    # Its sandwich takes those that end together one after the other (lifelines 0.30, `_compute_score_within_strata`).
    if frame["hours"].is_unique:
        frame["cluster"] = question["cluster"]
        robust = CoxPHFitter().fit(frame, "hours", "interrupted", cluster_col="cluster", **options)
        answer["robust_se"] = numbers(robust.standard_errors_)
    return answer


def poisson_interval(question):
    """Garwood's and Clopper and Pearson's, by scipy."""
    low, high = [], []
    for count in question["counts"]:
        low.append(stats.chi2.ppf(0.025, 2 * count) / 2 if count else 0.0)
        high.append(stats.chi2.ppf(0.975, 2 * count + 2) / 2)
    return {"low": numbers(low), "high": numbers(high)}


def weibull(question):
    """Scale and shape by maximum likelihood with censoring; lifelines starts, scipy makes it exact."""
    from lifelines import WeibullFitter

    hours, interrupted = np.array(question["hours"]), np.array(question["interrupted"])
    start = WeibullFitter().fit(hours, interrupted)

    def slope(shape):
        powers = hours**shape
        return (powers * np.log(hours)).sum() / powers.sum() - 1 / shape - np.log(hours[interrupted]).mean()

    shape = optimize.brentq(slope, start.rho_ / 2, start.rho_ * 2, xtol=1e-14)
    scale = ((hours**shape).sum() / interrupted.sum()) ** (1 / shape)
    # lifelines stops at 1e-5 or so: near enough to say that both speak of the same.
    assert abs(start.rho_ / shape - 1) < 1e-3 and abs(start.lambda_ / scale - 1) < 1e-3
    return {"scale": [scale], "shape": [shape]}


def gamma_poisson(question):
    """For a Gamma(shape, rate) prior: posterior means, 95 % intervals, the chance of an event within `hours`, the marginal likelihood."""
    count, exposure = np.array(question["events"]), np.array(question["exposure_h"])
    shape, rate, hours = question["prior_shape"], question["prior_rate_h"], question["hours"]
    posterior = stats.gamma(count + shape, scale=1 / (exposure + rate))
    none = stats.nbinom(count + shape, (exposure + rate) / (exposure + rate + hours)).pmf(0)
    marginal = special.gammaln(count + shape) - special.gammaln(shape) + shape * np.log(rate) - (count + shape) * np.log(exposure + rate)
    mean = count.sum() / exposure.sum()

    def slope(log_k):
        k = np.exp(log_k)
        beta = k / mean
        digammas = special.digamma(count + k) - special.digamma(k)
        logs = np.log(beta) + 1 - np.log(beta + exposure)
        return (digammas + logs - (count + k) / (beta + exposure) / mean).sum()

    # Within the bounds that it is looked for; None where groups differ less than chance has them.
    bounds = np.log(0.1), np.log(1e3)
    has_top = slope(bounds[0]) > 0 > slope(bounds[1])
    fitted = np.exp(optimize.brentq(slope, *bounds, xtol=1e-14)) if has_top else math.nan
    return {
        "fitted_shape": numbers([fitted]),
        "mean": numbers(posterior.mean()),
        "low": numbers(posterior.ppf(0.025)),
        "high": numbers(posterior.ppf(0.975)),
        "within": numbers(1 - none),
        "log_marginal": numbers([marginal.sum()]),
    }


KINDS = {
    "survival": survival,
    "cox": cox,
    "poisson_interval": poisson_interval,
    "weibull": weibull,
    "gamma_poisson": gamma_poisson,
}

if __name__ == "__main__":
    json.dump([KINDS[question["kind"]](question) for question in json.load(sys.stdin)], sys.stdout)
