"""Find the Ray Tune trial that needs the most memory, and the line that causes it: `python examples/tune.py`.

Trials fit polynomials of several degrees to a year of temperatures. Nothing is decorated. One line is a mistake.
"""

import tempfile

import numpy as np
import ray
from ray import tune

import raymemprof


def fit_polynomial(config: dict) -> None:
    """Fit a polynomial, and report its mean error."""
    days = np.linspace(-1, 1, 365 * 1440)  # one reading a minute
    readings = 10 - 12 * np.cos(np.pi * days) + np.random.default_rng(0).normal(size=len(days))
    # MISTAKE: computes all powers for each reading; one reading in a hundred is enough for the fit.
    powers = np.vander(days, config["degree"] + 1)
    fitted = np.linalg.solve(powers.T @ powers, powers.T @ readings)
    tune.report({"error": float(np.abs(np.polyval(fitted, days) - readings).mean())})


if __name__ == "__main__":
    runtime_env = raymemprof.runtime_env()  # records every trial
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=runtime_env)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            fit_polynomial,
            param_space={"degree": tune.grid_search([2, 6, 12])},
            tune_config=tune.TuneConfig(metric="error", mode="min"),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        print("Best degree:", tuner.fit().get_best_result().config["degree"])

    print(raymemprof.calls())
    largest = max(raymemprof.calls(name="fit_polynomial"), key=lambda call: call.growth)
    line = raymemprof.heap(largest).top(1)[0]
    print(f"{largest.name}, {largest.context}, held {line.bytes / 2**20:.0f} MiB by {line.location}: {line.text}")
