"""What a composed config alone shows to be wrong: one sentence each, and nothing of what is right."""

from pathlib import Path

import pytest

from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.errors import UserError


def planned(*arguments, config_dir=None, multirun=False):
    """The checked configs of a command line."""
    check(arguments, config_dir, multirun)
    return [checked(config) for _, config in combinations(arguments, config_dir)]


def refusal(*arguments, **options):
    with pytest.raises(UserError) as caught:
        planned(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


OUT_OF_LIMITS = {
    "ckpt_path=5": "ckpt_path is 5, but must be a path, or null.",
    "runs_dir=null": "runs_dir is None, but must be a path.",
    "sweeps_dir=[a]": "sweeps_dir is ['a'], but must be a path.",
    "seed=1000000000000000000000": "seed is 1000000000000000000000",
    "force=null": "force is None, but must be true or false.",
    "method.alpha=inf": "method.alpha is inf, but must be a number above 0.",
    "method.alpha=nan": "method.alpha is nan",
    "method.M=1000000000": "method.M is 1000000000, but must be an integer from 1 to 1000.",
    "method.gamma=1000000000": "method.gamma is 1000000000, but must be an integer from 1 to 1000.",
    "model.width=1000": "model.width is 1000, but must be a number from 0 to 100.",
    "data.mix=5": "data.mix is 5, but must be {_target_: ..., its settings}, or null.",
    "data.augment=crop": "data.augment is 'crop'",
    "data.corrupted=null": "data.corrupted is None, but must be {name: value}.",
    "data.corrupted.source=some": "data.corrupted.source is 'some', but must be written or on_the_fly, or null.",
    "data.root=5": "data.root is 5, but must be a path, or null.",
    "data.classes=3": "data.classes is 3, but must be a list, or null.",
    "data.val_fraction=null": "data.val_fraction is None",
    "recipe.schedule=null": "recipe.schedule is None, but must be {_target_: ..., its settings}.",
    "data.augment=[1,2]": "Error merging override data.augment=[1,2]: ",
    "recipe.optimizer._partial_=3": "recipe.optimizer._partial_ is 3, but must be true or false.",
    "recipe.optimizer=adam": "recipe.optimizer is 'adam'",
    "+recipe.schedule.floor=2": "recipe.schedule.floor is 2, but must be a number from 0 to 1.",
    "recipe.epochs=inf": "recipe.epochs is inf",
    "++recipe.optimizer.momentum=2": "recipe.optimizer.momentum is 2",
    "trainer.devices=null": "trainer.devices is None",
    "trainer=null": "",
    "+trainer.max_steps=1": "trainer.max_steps is not for a run to set, since recipe.epochs says how long",
    "+trainer.max_epochs=1": "recipe.epochs",
    "+trainer.check_val_every_n_epoch=2": "trainer.check_val_every_n_epoch is not for a run to set",
    "runtime.patience=0": "runtime.patience is 0, but must be an integer of at least 1, or null.",
    "evaluation.conformal=1": "evaluation.conformal is 1, but must be a number from 0 to 1",
    "evaluation.risk=1": "evaluation.risk is 1, but must be a number from 0 to 1, 1 itself left out, or null.",
    "+recipe.freeze_trunk=2": "recipe.freeze_trunk is 2, but must be true or false.",
    "evaluation.restrict_classes=1": "evaluation.restrict_classes is 1, but must be true or false.",
    "~trainer.devices": "trainer.devices has no value",
    "~data.val_fraction": "data.val_fraction has no value",
    "~recipe.epochs": "recipe.epochs has no value",
    "~evaluation": "evaluation has no value",
    "~seed": "seed has no value",
    "seed=${nothing}": "nothing",
    "seed=${data}": "seed is {",
    "seed=${seed": "The command line cannot be read",
}


@pytest.mark.parametrize("argument", OUT_OF_LIMITS)
def test_a_value_out_of_its_limits(argument):
    assert OUT_OF_LIMITS[argument] in refusal(argument)


@pytest.mark.parametrize(
    "arguments",
    [
        ["+recipe.schedule.gamma=0.1", "recipe.schedule._target_=mine.exponential"],
        ["+model.depth=[2,2,2]", "+model.M=no", "model._target_=mine.network"],
        ["+method.rate=[1,2]", "method.alpha=-1", "method._target_=mine.Method"],
        ["recipe.optimizer.lr=[0.1,0.2]", "recipe.optimizer._target_=mine.Optimizer"],
        ["+data.noise=loud", "+data.depth=[3]", "data._target_=mine.Data"],
        ["model=timm", "model.name=resnet26", "model.kwargs={depth: [1, 2], pad: -1, rate: 7}"],
    ],
)
def test_what_is_the_users_own_has_no_limits(arguments):
    planned(*arguments)


def test_what_every_run_needs_has_limits_whoever_makes_it():
    assert "data.val_fraction is 2" in refusal("data._target_=mine.Data", "data.val_fraction=2")
    assert "recipe.epochs is 0" in refusal("recipe._target_=mine.Recipe", "recipe.epochs=0")


MEANT = {
    "recipe.lr=1": "There is no key recipe.lr: did you mean recipe.optimizer.lr?",
    "lr=1": "did you mean recipe.optimizer.lr?",
    "learning_rate=1": "did you mean recipe.optimizer.lr?",
    "weight_decay=1": "did you mean recipe.optimizer.weight_decay?",
    "epochs=1": "did you mean recipe.epochs?",
    "max_epochs=1": "did you mean recipe.epochs?",
    "trainer.max_epochs=1": "did you mean recipe.epochs?",
    "trainer.epochs=1": "did you mean recipe.epochs?",
    "batch_size=1": "did you mean recipe.batch_size?",
    "data.batch_size=1": "did you mean recipe.batch_size?",
    "M=1": "did you mean method.M?",
    "method.m=1": "did you mean method.M?",
    "method.Alpha=1": "did you mean method.alpha?",
    "num_estimators=1": "did you mean method.M?",
    "model.M=1": "did you mean method.M?",
    "gpus=1": "did you mean trainer.devices?",
    "devices=1": "did you mean trainer.devices?",
    "num_workers=1": "did you mean data.num_workers?",
    "dataset=cifar10": "did you mean data?",
    "backbone=resnet18": "did you mean model?",
    "root=x": "did you mean data.root?",
    "size=32": "did you mean data.image_size?",
    "Seed=1": "did you mean seed?",
    "trainer.patience=3": "There is no key trainer.patience: did you mean runtime.patience?",
    "early_stopping=3": "did you mean runtime.patience?",
    "gradient_accumulation=2": "add it, +trainer.accumulate_grad_batches=...",
    "trainer.accumulate_grad_batches=2": "add it, +trainer.accumulate_grad_batches=...",
    "recipe.batchsize=1": "did you mean recipe.batch_size?",
    "model.freeze=true": "take recipe=finetune, which has recipe.freeze_trunk, or add it, +recipe.freeze_trunk=...",
    "recipe.freeze=true": "take recipe=finetune, which has recipe.freeze_trunk",
    "method.minchannels=1": "did you mean method.min_channels?",
    "+foo=1": "There is no key foo: known here: ",
    "+epochs=1": "There is no key epochs: did you mean recipe.epochs?",
    "++lr=1": "There is no key lr: did you mean recipe.optimizer.lr?",
    "+evaluation.foo=1": "There is no key evaluation.foo",
    "~foo": "There is no key foo",
    "recipe.optimizer.beta=1": "There is no key recipe.optimizer.beta: known here: recipe.optimizer.lr",
}


@pytest.mark.parametrize("argument", MEANT)
def test_another_name_gets_a_hint(argument):
    assert MEANT[argument] in refusal(argument)


def test_a_method_without_settings_says_so():
    assert "There is no key method.M: this method has no settings." in refusal("method=deterministic", "method.M=4")


def test_a_key_that_another_value_refers_to_can_be_added():
    (config,) = planned("+mine=3", "method.M=${mine}")
    assert config["method"]["M"] == 3


def test_options_of_a_group_all_at_once():
    assert "add -m" in refusal("method=glob(*)")
    assert "add -m" in refusal("method=packed,mimo")
    assert len(planned("method=glob(m*)", "model=wrn", multirun=True)) == 3
    assert "There is no method=glob(nothing*)" in refusal("method=glob(nothing*)", multirun=True)


def test_what_needs_a_validation_split_or_pretrained_numbers():
    assert "runtime.patience needs a validation split" in refusal("runtime.patience=2", "data.val_fraction=0")
    frozen = ("model=timm", "model.name=resnet18", "recipe=finetune", "recipe.freeze_trunk=true")
    assert "would freeze random numbers: set model.pretrained" in refusal(*frozen)
    assert "evaluation.conformal=0.1 is about classes" in refusal(
        "data=synthetic_regression", "evaluation.conformal=0.1"
    )


def test_no_logger():
    assert [planned(f"logger={value}")[0]["logger"] for value in ("[]", "csv")] == [{}, {"csv": None}]


def test_an_error_about_a_folder_is_its_own_sentence():
    assert refusal("data=image_folder", "data.root=nowhere").startswith("data.root=nowhere is not a folder")


FILES = {
    "_target_: [": "no YAML",
    "a: 1\na: 2\n": "no YAML",
    "- 1\n- 2\n": "model is [1, 2]",
    "defaults: 5\n": "",
    "defaults: [nowhere]\n": "nowhere",
    "_target_: ${nothing}\n": "nothing",
    "\tx: 1": "no YAML",
    "5": "",
}


@pytest.mark.parametrize("text", FILES)
def test_a_file_of_the_users_own_that_holds_no_config(tmp_path, text):
    Path(tmp_path, "model").mkdir()
    Path(tmp_path, "model", "mine.yaml").write_text(text)
    assert FILES[text] in refusal("model=mine", config_dir=str(tmp_path))


def test_a_file_that_is_no_text(tmp_path):
    Path(tmp_path, "model").mkdir()
    Path(tmp_path, "model", "mine.yaml").write_bytes(b"\xff\xfe\x00")
    refusal("model=mine", config_dir=str(tmp_path))
    refusal("model=mine", config_dir=str(tmp_path / "nowhere"))
