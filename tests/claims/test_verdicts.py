"""Verdicts on generated results: each outcome, each expectation; differences, intervals, and seeds that decide."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from ensembles.claims.evidence import Estimate, sources
from ensembles.claims.ledger import FAILS, HOLDS, UNDECIDED, UNTESTED, compare, judge
from ensembles.claims.schema import Claim, Comparison, Evidence
from ensembles.errors import UserError


def run(row, seed, **results):
    entry = {"method": row, "row": row, "seed": seed, "settings": {}, "commit": "c", "command": "python train.py"}
    return {**entry, "hardware": "a CPU", "seconds": {"train": 100.0 + seed, "test": 3.0}, "results": results}


def rows(**accuracies):
    """Runs of rows with these accuracies, by seed."""
    return [
        run(name.replace("_", "-") if name.startswith("mimo") else name, seed, **{"test/acc": accuracy})
        for name, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


@pytest.fixture
def results(tmp_path):
    """Write collected runs."""

    def write(runs):
        (tmp_path / "cifar10").mkdir(exist_ok=True)
        (tmp_path / "cifar10" / "runs.json").write_text(json.dumps(runs))
        return [tmp_path]

    return write


def claim(*tests, source="cifar10", **more):
    evidence = {"source": source, "tests": list(tests), **more}
    return Claim.model_validate(
        {"id": "a-claim", "claim": "Something can be tested.", "where": "Table 1", "evidence": [evidence]}
    )


def better(expect="higher", margin=0.002, of="packed", than="deterministic", metric="test/acc"):
    return {"of": of, "expect": expect, "than": than, "metric": metric, "margin": margin}


GOOD, LEVEL, NOISY = (0.940, 0.941, 0.9395), (0.9301, 0.9298, 0.9302), (0.90, 0.96, 0.935)
SINGLE = (0.930, 0.9305, 0.9298)


@pytest.mark.parametrize(
    ("expect", "packed", "outcome"),
    [
        ("higher", GOOD, HOLDS),
        ("higher", LEVEL, FAILS),
        ("higher", NOISY, UNDECIDED),
        ("lower", GOOD, FAILS),
        ("lower", tuple(value - 0.02 for value in GOOD), HOLDS),
        ("at_least", LEVEL, HOLDS),
        ("at_least", GOOD, HOLDS),
        ("at_least", NOISY, UNDECIDED),
        ("at_least", tuple(value - 0.02 for value in GOOD), FAILS),
        ("at_most", GOOD, FAILS),
        ("at_most", LEVEL, HOLDS),
        ("equal", LEVEL, HOLDS),
        ("equal", GOOD, FAILS),
        ("equal", NOISY, UNDECIDED),
    ],
)
def test_an_outcome_follows_from_the_interval(results, expect, packed, outcome):
    (verdict,) = judge(claim(better(expect)), results(rows(packed=packed, deterministic=SINGLE)))
    assert verdict.outcome == outcome
    assert "3 seeds" in verdict.why and verdict.scale == "all of CIFAR-10 with a small network"
    assert outcome == UNDECIDED or verdict.seeds is None


def test_a_sure_difference_too_small_to_matter_is_none():
    sure = Comparison.model_validate(better(margin=0.01))
    of, than = (Estimate(mean, ((1e-8, 5),)) for mean in (0.935, 0.930))
    assert compare(sure, of, than).outcome == FAILS
    assert compare(Comparison.model_validate(better(margin=0.002)), of, than).outcome == HOLDS


def test_an_undecided_claim_names_seeds_that_then_decide_it(results):
    few = {"packed": (0.934, 0.938), "deterministic": (0.930, 0.933)}
    (verdict,) = judge(claim(better()), results(rows(**few)))
    assert verdict.outcome == UNDECIDED and 3 <= verdict.seeds <= 20
    more = {name: values * verdict.seeds for name, values in few.items()}
    (verdict,) = judge(claim(better()), results(rows(**more)))
    assert verdict.outcome == HOLDS


def test_one_seed_decides_nothing(results):
    (verdict,) = judge(claim(better()), results(rows(packed=(0.99,), deterministic=(0.5,))))
    assert (verdict.outcome, verdict.seeds) == (UNDECIDED, None)
    assert "one seed" in verdict.why


def test_a_count_needs_one_seed_only(results):
    runs = [run("packed", 0, **{"cost/params": 5_000_000}), run("deterministic", 0, **{"cost/params": 10_000_000})]
    (verdict,) = judge(claim(better("lower", "10 %", metric="cost/params")), results(runs))
    assert verdict.outcome == HOLDS


def test_times_are_of_a_file_of_their_own(results, tmp_path):
    """In the single network's, measured alone: without a spread, and there before a row has runs."""
    folders = results([run("packed", seed) for seed in (0, 1)])
    times = {"rows": {"packed": {"train": 1.4, "predict": 1.1}, "deterministic": {"train": 1.0, "predict": 1.0}}}
    (tmp_path / "cifar10" / "times.json").write_text(json.dumps(times))
    step, answer = (better("at_most", "20 %", metric=metric) for metric in ("times/train", "times/predict"))
    assert [judge(claim(test), folders)[0].outcome for test in (step, answer)] == [FAILS, HOLDS]
    (tmp_path / "cifar10" / "times.json").write_text("{}")
    with pytest.raises(UserError, match=r"times\.json cannot be read"):
        judge(claim(step), folders)


def test_a_row_that_is_not_there_is_not_tested(results):
    (verdict,) = judge(claim(better()), results(rows(deterministic=SINGLE)))
    assert (verdict.outcome, verdict.why) == (UNTESTED, "packed has no test/acc yet")


def test_nothing_is_judged_without_results(tmp_path):
    assert judge(claim(better()), [tmp_path]) == []


def test_all_comparisons_must_hold_and_one_failure_is_enough(results):
    folders = results(rows(packed=GOOD, deterministic=SINGLE, thin=LEVEL, wide=NOISY))
    outcomes = {}
    for others in (["deterministic", "thin"], ["deterministic", "wide"], ["deterministic", "treenet"]):
        (verdict,) = judge(claim(*(better(than=other) for other in others)), folders)
        outcomes[others[1]] = verdict.outcome
    assert outcomes == {"thin": HOLDS, "wide": UNDECIDED, "treenet": UNTESTED}
    (verdict,) = judge(
        claim(better(than="deterministic"), better("lower", than="thin"), better(than="treenet")), folders
    )
    assert verdict.outcome == FAILS


def test_members_lists_and_sets_are_numbers_too(results):
    runs = [
        run("packed", seed, **{"test/acc": 0.93 + noise, "members/acc": [0.90 + noise, 0.92 + noise],
                               "ood/svhn/max_probability/auroc": 0.9, "ood/digits/max_probability/auroc": 0.8})
        for seed, noise in enumerate((0.0, 0.01, 0.02))
    ]  # fmt: skip
    folders = results(runs)

    def mean(quantity):
        (source,) = sources(Evidence(source="cifar10", tests=[Comparison.model_validate(better())]), folders)
        of = Comparison.model_validate({"of": quantity, "expect": "equal", "than": 0, "margin": 1}).of
        return source.estimate(of).mean

    assert mean({"row": "packed", "metric": "members/acc"}) == pytest.approx(0.92)
    assert mean({"row": "packed", "metric": "members/acc", "take": "max"}) == pytest.approx(0.93)
    assert mean({"row": "packed", "metric": "ood/*/max_probability/auroc"}) == pytest.approx(0.85)
    # seed by seed the ensemble is above its members by the same, though seeds differ by more
    same = {"of": {"row": "packed", "metric": "test/acc"}, "expect": "higher", "margin": 0.01}
    (verdict,) = judge(claim({**same, "than": {"row": "packed", "metric": "members/acc"}}), folders)
    assert verdict.outcome == HOLDS


def sheet(scale, **more):
    lines = [
        {"names": [name], "runs": [{"seed": seed, "results": results} for seed, results in enumerate(of)]}
        for name, of in more.pop("rows", {}).items()
    ]
    return {"name": "mimo/table1", "scale": scale, "cites": "Table 1", "lines": lines, **more}


def test_tables_at_small_scale_are_not_judged_but_a_figure_s_speeds_are(tmp_path):
    """A table at small scale has the runs that are judged themselves."""
    (tmp_path / "mimo").mkdir()
    of = {"MIMO (M = 3)": [{"test/acc": 0.5}] * 3, "Deterministic": [{"test/acc": 0.4}] * 3}
    of_table = claim(better(of="MIMO (M = 3)", than="Deterministic"), source="mimo/table1")
    (tmp_path / "mimo" / "table1-small.json").write_text(json.dumps(sheet("small", rows=of)))
    assert judge(of_table, [tmp_path]) == []
    (tmp_path / "mimo" / "table1.json").write_text(json.dumps(sheet("full", rows=of)))
    (verdict,) = judge(of_table, [tmp_path])
    assert (verdict.outcome, verdict.group) == (
        HOLDS,
        "tables and figures in the paper's setting, as far as it is printed",
    )
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "speed-small.json").write_text(json.dumps(sheet("small", data=[{"M": 4, "mean": 1.1}])))
    step = {"of": {"where": {"M": 4}, "value": "mean"}, "expect": "at_most", "than": 1, "margin": 0.2}
    (verdict,) = judge(claim(step, source="packed/speed", any_scale=True), [tmp_path])
    assert (verdict.outcome, verdict.group) == (HOLDS, "speeds at small scale")
    assert judge(claim(step, source="packed/speed"), [tmp_path]) == []


def test_accuracies_are_compared_image_by_image(results, tmp_path):
    """Two rows that both differ from seed to seed by more than from each other, but are right on the same images."""
    drawn = np.random.default_rng(0)
    (tmp_path / "cifar10" / "images").mkdir(parents=True)
    runs = []
    for seed, accuracy in enumerate((0.90, 0.93, 0.96)):
        single = drawn.random(4000) < accuracy
        gained = single | (drawn.random(4000) < 0.2)
        for row, correct in (("deterministic", single), ("packed", gained)):
            kept = {
                "correct": np.packbits(correct),
                "log_likelihood": -1.0 * ~correct,
                "confidence": 0.5 + 0.0 * correct,
            }
            np.savez(tmp_path / "cifar10" / "images" / f"{row}-{seed}.npz", **kept)
            runs.append(run(row, seed, **{"test/acc": float(correct.mean()), "test/nll": float(1 - correct.mean())}))
    folders = results(runs)
    (verdict,) = judge(claim(better(), better("lower", metric="test/nll")), folders)
    assert verdict.outcome == HOLDS and "over 3 seeds and 4,000 images" in verdict.why
    (tmp_path / "cifar10" / "images" / "packed-2.npz").unlink()
    two_of_packed = results([one for one in runs if (one["row"], one["seed"]) != ("packed", 2)])
    (verdict,) = judge(claim(better()), two_of_packed)
    single = np.mean([one["results"]["test/acc"] for one in runs if one["row"] == "deterministic" and one["seed"] < 2])
    assert f"deterministic {single:.4g}," in verdict.why and "over 2 seeds" in verdict.why  # both means are of these
    folders = results(runs)
    (verdict,) = judge(claim(better()), folders)
    assert verdict.outcome == UNDECIDED and "images" not in verdict.why  # by seeds alone


def test_a_deep_ensemble_is_compared_with_the_mean_of_its_own_members(results, tmp_path):
    (tmp_path / "cifar10" / "images").mkdir(parents=True)
    plan = {"deterministic": "one", "deep_ensemble": {"name": "two", "members": "deterministic"}}
    plan = {"title": "A study", "experiments": "cifar10", "rows": plan, "reference": "deterministic"}
    (tmp_path / "cifar10" / "study.yaml").write_text(json.dumps(plan))
    drawn, runs = np.random.default_rng(0), []
    single = [drawn.random(4000) < accuracy for accuracy in (0.95, 0.85, 0.93, 0.87, 0.99)]
    both = [single[0] | single[1], single[2] | single[3]]
    for row, of in (("deterministic", single), ("deep_ensemble", both)):
        for seed, correct in enumerate(of):
            kept = {"correct": np.packbits(correct), "log_likelihood": -1.0 * ~correct, "confidence": 0.5 + 0 * correct}
            np.savez(tmp_path / "cifar10" / "images" / f"{row}-{seed}.npz", **kept)
            members = [float(one.mean()) for one in single[2 * seed : 2 * seed + 2]] if of is both else []
            runs.append(run(row, seed, **{"test/acc": float(correct.mean()), "members/acc": members}))
    folders = results(runs)
    expected = np.mean(both) - np.mean(single[:4])
    for of, than, sign in (("deep_ensemble", "deterministic", "+"), ("deterministic", "deep_ensemble", "-")):
        (verdict,) = judge(claim(better(of=of, than=than)), folders)
        assert f"difference {sign}{expected:.3g} [" in verdict.why
        assert f"deterministic {np.mean(single[:4]):.4g}," in verdict.why and "over 2 seeds and 4,000" in verdict.why
    one_of_two = [one for one in runs if one["row"] == "deep_ensemble" or one["seed"] in (0, 3)]
    (verdict,) = judge(claim(better(of="deep_ensemble")), results(one_of_two))  # ensemble 0 is not of network 0 alone
    assert (verdict.outcome, verdict.why) == (UNTESTED, "no ensemble has all of its 2 networks yet")


def test_a_figure_is_judged_by_its_data_and_its_findings(tmp_path):
    (tmp_path / "mimo").mkdir()
    data = [{"M": "1", "mean": 2.0, "std": 0.1, "seeds": 3}, {"M": "5", "mean": 1.0, "std": 0.1, "seeds": 3}]
    figure = sheet("full", data=data, findings=["A: 30.5 % of the units.", "B: 90.0 % of the units."])
    (tmp_path / "mimo" / "figure2.json").write_text(json.dumps(figure))

    def outcome(of, expect, than):
        test = {"of": of, "expect": expect, "than": than, "margin": 0.1}
        (verdict,) = judge(claim(test, source="mimo/figure2"), [tmp_path])
        return verdict

    five, one = ({"where": {"M": M}, "value": "mean"} for M in (5, 1))
    assert outcome(five, "lower", one).outcome == HOLDS and outcome(five, "higher", one).outcome == FAILS
    assert "3 seeds" in outcome(five, "lower", one).why
    a, b = ({"finding": rf"^{name}: ([\d.]+) %", "called": name} for name in "AB")
    assert outcome(b, "higher", {**a, "times": 2}).outcome == HOLDS
    assert outcome({"finding": r"^C: (\d+)", "called": "C"}, "higher", 1).outcome == UNTESTED
    test = {"of": b, "expect": "higher", "than": a, "margin": 0.1}
    (verdict,) = judge(claim(test, source="mimo/figure2", instead="a small network"), [tmp_path])
    assert verdict.group == "figures of another network than the paper's" and verdict.scale.endswith(
        ", a small network"
    )
    assert outcome({"where": {"M": 7}, "value": "mean"}, "higher", 1).outcome == UNTESTED


@pytest.mark.parametrize(
    ("change", "outcome"), [("+1.0 ± 0.50", HOLDS), ("+1.0 ± 0.52", UNDECIDED), ("-1.0 ± 0.50", FAILS)]
)
def test_a_figure_s_own_standard_error_is_an_interval(tmp_path, change, outcome):
    """Of 1.96 of them on each side."""
    (tmp_path / "mimo").mkdir()
    figure = sheet("full", findings=[f"From M = 1 to M = 2: error {change}."])
    (tmp_path / "mimo" / "figure2.json").write_text(json.dumps(figure))
    of = {"finding": r"error ([-+][\d.]+) ± (\d\.\d+)", "called": "M = 2 less M = 1"}
    test = {"of": of, "expect": "higher", "than": 0, "margin": 0}
    (verdict,) = judge(claim(test, source="mimo/figure2"), [tmp_path])
    assert verdict.outcome == outcome and "standard errors" in verdict.why
    assert "seeds" not in verdict.sentence


def test_a_figure_s_times_are_over_rounds_which_no_seeds_decide(tmp_path):
    (tmp_path / "packed").mkdir()
    path = tmp_path / "packed" / "speed-small.json"

    def verdict(**times):
        path.write_text(json.dumps(sheet("small", data=[{"M": "4", "result": "speed/training", **times}])))
        step = {"of": {"where": {"M": "4"}, "value": "mean"}, "expect": "at_most", "than": 1, "margin": 0.2}
        return judge(claim(step, source="packed/speed", any_scale=True), [tmp_path])[0]

    found = verdict(mean=1.2, std=0.1, rounds=3)
    assert found.outcome == UNDECIDED and "over 3 rounds" in found.why and "seed" not in found.sentence
    assert "one round, so no interval" in verdict(mean=1.1, std="", rounds=1).sentence


def test_one_seed_of_a_figure_decides_nothing(tmp_path):
    (tmp_path / "mimo").mkdir()
    data = [{"M": "1", "mean": 2.0, "std": "", "seeds": 1}, {"M": "5", "mean": 1.0, "std": "", "seeds": 1}]
    (tmp_path / "mimo" / "figure2.json").write_text(json.dumps(sheet("full", data=data)))
    one, five = ({"where": {"M": M}, "value": "mean"} for M in (1, 5))
    test = {"of": one, "expect": "higher", "than": five, "margin": 0.1}
    (verdict,) = judge(claim(test, source="mimo/figure2"), [tmp_path])
    assert verdict.outcome == UNDECIDED and verdict.sentence.endswith("to say how many would decide it")


def test_a_network_is_counted(tmp_path):
    of = {"config": ["method=deterministic", "model=small_cnn", "data=cifar10"]}
    params = 3 * 16 * 9 + 16 + 16 * 32 * 9 + 32 + 32 * 32 * 9 + 32 + 512 * 10 + 10
    test = {"of": of, "expect": "equal", "than": params, "metric": "cost/params", "margin": 0}
    passes = {"of": of, "expect": "equal", "than": 1, "metric": "cost/forward_passes", "margin": 0}
    (verdict,) = judge(claim(test, passes, source="cost"), [tmp_path])
    assert verdict.outcome == HOLDS and f"{params:,}" in verdict.why


def test_a_pattern_is_the_mean_over_rows_seed_by_seed(results):
    folders = results(rows(mimo_2=(0.90, 0.92), mimo_3=(0.94, 0.96), deterministic=(0.93, 0.93)))
    (source,) = sources(claim(better()).evidence[0], folders)
    found = source.estimate(Comparison.model_validate(better(of="mimo-*")).of)
    assert (found.mean, dict(found.by_seed)) == (pytest.approx(0.93), pytest.approx({0: 0.92, 1: 0.94}))
    folders = results([run(row, 0, **{"cost/params": params}) for row, params in (("mimo-2", 10), ("mimo-3", 30))])
    (source,) = sources(claim(better()).evidence[0], folders)
    of_costs = source.estimate(Comparison.model_validate(better(of="mimo-*", metric="cost/params")).of)
    assert (of_costs.mean, of_costs.interval()) == (20, (20, 20))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda runs: runs + runs[:1], "packed has seed 0 twice"),
        (lambda runs: [{**runs[0], "seed": "zero"}], "run 1, seed: "),
        (lambda runs: [{**runs[0], "results": {"test/acc": "good"}}], "run 1, results, test/acc"),
        (lambda runs: {"runs": runs}, "runs.json: Input should be a valid array"),
    ],
)
def test_a_damaged_file_of_runs_is_one_sentence(results, change, sentence):
    folders = results(change(rows(packed=GOOD)))
    with pytest.raises(UserError, match=r"runs\.json") as error:
        judge(claim(better()), folders)
    assert sentence in str(error.value) and "\n" not in str(error.value)


FIRST, SECOND = {0: 0.931, 1: 0.935, 2: 0.930}, {0: 0.925, 1: 0.921, 2: 0.927, 3: 0.924}


def test_two_rows_are_compared_as_welch_has_it():
    difference = Estimate.of(FIRST).minus(Estimate.of(SECOND))
    welch = stats.ttest_ind(list(FIRST.values()), list(SECOND.values()), equal_var=False).confidence_interval(0.95)
    assert difference.interval() == pytest.approx((welch.low, welch.high))


def test_numbers_of_the_same_runs_are_compared_seed_by_seed():
    difference = Estimate.of(FIRST).minus(Estimate.of(SECOND), paired=True)
    common = [seed for seed in FIRST if seed in SECOND]
    paired = stats.ttest_rel([FIRST[s] for s in common], [SECOND[s] for s in common]).confidence_interval(0.95)
    assert difference.interval() == pytest.approx((paired.low, paired.high))


def test_a_row_is_compared_with_a_stated_number():
    one = stats.ttest_1samp([value - 0.92 for value in FIRST.values()], 0).confidence_interval(0.95)
    assert Estimate.of(FIRST).minus(Estimate(0.92)).interval() == pytest.approx((one.low, one.high))


def test_a_factor_scales_the_interval():
    low, high = Estimate.of(FIRST).interval()
    assert Estimate.of(FIRST).times(100).interval() == pytest.approx((100 * low, 100 * high))


def test_one_seed_has_no_interval_and_a_count_an_exact_one():
    assert Estimate.of({0: 0.9}).minus(Estimate.of(SECOND)).interval() == (-math.inf, math.inf)
    assert Estimate(8.0).minus(Estimate(3.0)).interval() == (5.0, 5.0)


def test_the_seeds_that_decide_are_those_of_the_power_of_a_t_test():
    difference = Estimate(0.0, ((1.0, 2), (1.0, 2)))
    # Cohen's table: 17 in each group for d = 1, 26 for d = 0.8, each at a power of 0.8 and two-sided 5 %
    assert difference.seeds_needed(1.0) == 17
    assert difference.seeds_needed(0.8) == 26


def test_no_number_of_seeds_is_told_where_none_is_known():
    assert Estimate.of({0: 0.9}).seeds_needed(0.01) is None
    assert Estimate(0.0, ((1.0, 3), (1.0, 3))).seeds_needed(0.01) is None  # more than are worth it
    assert Estimate(0.0, ((1.0, 40), (1.0, 40))).seeds_needed(1.0) == 41  # more than there are


def test_more_seeds_do_not_help_where_there_are_too_few_images():
    """Images that differ by 1 from one another, the same for each seed: 100 of them leave an error of 0.1."""
    random = np.random.default_rng(1)
    of_image = random.normal(size=100)
    images = {seed: of_image + 0.01 * random.normal(size=100) for seed in range(3)}
    found = Estimate.of({seed: of.mean() for seed, of in images.items()}, images)
    low, high = found.interval()
    assert high - low == pytest.approx(2 * 1.96 * of_image.std() / 10, rel=0.1)
    assert found.seeds_needed(0.2) is None and found.seeds_needed(0.4) == 4
